"""Defaults that depend on the objective and the data: the objective's recipe, and networks that fit both."""

from dataclasses import replace
from typing import Any, cast

from equipoise.data import TOYS
from equipoise.networks import NETWORKS, Network
from equipoise.objectives import Objective

TOY_RECIPE: dict[str, Any] = {
    "batch": 256,
    "images": 2_500_000,
    "log_every": 10_000,
    "sample_every": 100_000,
    "checkpoint_every": 250_000,
    "lr": 2e-3,
    "beta1": 0.0,
    "beta2": 0.99,
    "ema": 50_000,
}
"""Training settings for points in the plane, tuned on 25 Gaussians (docs/toys.md)."""


def default_settings(objective: Objective, data: str) -> dict[str, Any]:
    """Settings of a `TrainConfig` that are not given: those that differ from the fields' own defaults.

    Later ones win: the objective's `recipe`, then for a toy `TOY_RECIPE` and the objective's `toy_recipe`.
    """
    toy = data in TOYS
    settings = {"network": default_network_name(objective, toy=toy), **objective.recipe}
    if toy:  # not the recipe's network, which is for images
        settings |= {"network": default_network_name(objective, toy=True), **TOY_RECIPE, **objective.toy_recipe}
    return settings


def default_network_name(objective: Objective, *, toy: bool) -> str:
    """Name of the networks for an objective: DCGAN's, with an autoencoder for energies; perceptrons for points."""
    if objective.needs.score == "energy":
        return "mlp-autoencoder" if toy else "dcgan-autoencoder"
    return "mlp" if toy else "dcgan"


def network_for(objective: Objective, name: str) -> Network:
    """The networks called `name` with default settings, but for what the objective needs, and for its recipe."""
    needs = objective.needs
    network = NETWORKS[name].default(
        independent=needs.independent,
        independent_g=needs.independent_g,
        smooth=needs.smooth,
        spectral=needs.spectral,
    )
    ours = objective.network_recipe if name == default_network_name(objective, toy=False) else {}
    return cast(Network, replace(cast(Any, network), **ours))
