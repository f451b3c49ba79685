"""Which networks go with which objective and data."""

from collections.abc import Mapping

from equipoise.errors import UsageError
from equipoise.networks import NETWORKS, Network
from equipoise.objectives import OBJECTIVES, Objective

POINT_NETWORKS = {"mlp", "mlp-autoencoder"}


def network_for(objective: Objective, name: str) -> Network:
    """The networks called `name`, as they suit an objective: a penalty of each image's gradient forbids BatchNorm."""
    return NETWORKS[name].serving(independent=objective.needs.independent)


def toy_network(objective: Objective) -> str:
    """The perceptrons that an objective plays with where the data are points."""
    return "mlp-autoencoder" if objective.needs.score == "energy" else "mlp"


def refuse_pairing(objective: Objective, network: Network) -> None:
    """Refuse networks that cannot serve an objective.

    Raises:
        UsageError: they give another score, no codes, or scores that depend on the rest of the batch.
    """
    name, needs = name_of(objective, OBJECTIVES), objective.needs
    able = [other for other, kind in NETWORKS.items() if needs.score in kind.serves]
    if needs.score not in network.serves:
        theirs = name_of(network, NETWORKS)
        raise UsageError(
            f"{name} needs a discriminator whose score is a kind of {needs.score}, and that of {theirs} is none: use "
            f"--network {' or '.join(able)}"
        )
    if needs.codes and not network.codes:
        raise UsageError(f"{name} with these settings needs a discriminator with codes: use --network autoencoder")
    if needs.independent and not network.independent:
        raise UsageError(
            f"{name} penalises the gradient of each image's score alone, which BatchNorm in the discriminator mixes: "
            "use --norm layer or --norm none"
        )


def refuse_toy(objective: Objective, network: Network, data: str, *, scored: bool) -> None:
    """Refuse what cannot be done with the points of a toy called `data`.

    Raises:
        UsageError: discrete pixels, networks for images, or a score by KID.
    """
    if objective.needs.levels:
        name = name_of(objective, OBJECTIVES)
        raise UsageError(f"{name} draws each pixel from a few values, which {data} does not have: use --data digits")
    if (name := name_of(network, NETWORKS)) not in POINT_NETWORKS:
        raise UsageError(f"{name} makes images, and toys are of points: use --network {toy_network(objective)}")
    if scored:
        raise UsageError(f"--score-every scores images, and {data} has points, which every sample measures")


def name_of(part: object, registry: Mapping[str, type]) -> str:
    """The name under which the class of `part` is registered."""
    return next(name for name, kind in registry.items() if type(part) is kind)
