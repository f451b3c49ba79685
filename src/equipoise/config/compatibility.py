"""Checks that networks, objective and data go together."""

from collections.abc import Mapping

from equipoise.config.defaults import default_network_name
from equipoise.errors import UsageError
from equipoise.networks import NETWORKS, Network
from equipoise.objectives import OBJECTIVES, Objective

POINT_NETWORKS = {"mlp", "mlp-autoencoder"}


def check_pairing(objective: Objective, network: Network) -> None:
    """Check that networks meet an objective's needs.

    Raises:
        UsageError: another kind of score, no codes, or scores or generated images that depend on the rest of the batch.
    """
    name, needs = name_of(objective, OBJECTIVES), objective.needs
    if needs.score not in network.score_kinds:
        suitable = " or ".join(other for other, kind in NETWORKS.items() if needs.score in kind.score_kinds)
        raise UsageError(
            f"{name} needs a discriminator whose score is a kind of {needs.score}, and that of "
            f"{name_of(network, NETWORKS)} is none: use --network {suitable}"
        )
    if needs.codes and not network.codes:
        raise UsageError(f"{name} with these settings needs a discriminator with codes: use --network autoencoder")
    if needs.independent and not network.independent:
        raise UsageError(
            f"{name} penalises the gradient of each image's score alone, which BatchNorm in the discriminator mixes: "
            "use --norm layer or --norm none"
        )
    if needs.independent_g and not network.independent_g:
        raise UsageError(
            f"{name} takes the gradient of each generated image in its own latent, which BatchNorm in the generator "
            "mixes: use --generator-norm layer or --generator-norm none"
        )


def check_toy(objective: Objective, network: Network, data: str, *, scored: bool) -> None:
    """Check that a run can be made with the points of the toy called `data`.

    Args:
        objective: must not need discrete images.
        network: must be perceptrons.
        data: name of the toy.
        scored: whether KID is to be computed while training, which needs images.

    Raises:
        UsageError: one of these does not hold.
    """
    if objective.needs.levels:
        name = name_of(objective, OBJECTIVES)
        raise UsageError(f"{name} draws each pixel from a few values, which {data} does not have: use --data digits")
    if (name := name_of(network, NETWORKS)) not in POINT_NETWORKS:
        suitable = default_network_name(objective, toy=True)
        raise UsageError(f"{name} makes images, and toys are of points: use --network {suitable}")
    if scored:
        raise UsageError(f"--score-every scores images, and {data} has points, which every sample measures")


def name_of(part: object, registry: Mapping[str, type]) -> str:
    """The name under which the class of `part` is registered.

    Raises:
        UsageError: it is not registered.
    """
    for name, kind in registry.items():
        if type(part) is kind:
            return name
    raise UsageError(f"{type(part).__name__} has no name: register the class in OBJECTIVES or NETWORKS first")
