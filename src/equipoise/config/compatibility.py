"""Checks that networks, objective and data go together."""

from collections.abc import Mapping

from equipoise.config.defaults import default_network_name
from equipoise.errors import UsageError
from equipoise.networks import NETWORKS, Network
from equipoise.objectives import OBJECTIVES, Objective, Tasks

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
    if needs.latent_codes and network.codes != network.latent:
        raise UsageError(
            f"{name} with these settings compares codes of length {network.codes} with latents of length "
            f"{network.latent}: use --code {network.latent}"
        )
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


def check_batch(network: Network, batch: int, devices: int) -> None:
    """Check that a batch can be trained on.

    Raises:
        UsageError: it is too small for batch normalisation, which is over all processes, or they cannot share it.
    """
    if batch < (fewest := network.smallest_batch):
        way = " or --norm none --generator-norm none" if {network.norm, network.generator_norm} & {"batch"} else ""
        raise UsageError(f"batch normalisation needs {fewest} images or more: use --batch {fewest}{way}")
    if batch % devices:
        raise UsageError(f"--batch {batch} does not divide by --devices {devices}")


def check_toy(objective: Objective, network: Network, tasks: Tasks, data: str, *, scored: bool) -> None:
    """Check that a run can be made with the points of the toy called `data`.

    Args:
        objective: must not need discrete images.
        network: must be perceptrons.
        tasks: must not be of pixels; the modes of points are classes.
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
    if tasks.rotate or tasks.inpaint:
        flag = "--rotate-d" if tasks.rotate else "--inpaint"
        raise UsageError(f"{flag} is for images, and {data} has points: leave it out")
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
