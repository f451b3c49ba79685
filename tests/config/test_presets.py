"""Presets of every objective."""

from dataclasses import replace

import pytest

from equipoise import BEGAN, PRESETS, Autoencoder
from equipoise.config.train_config import read_yaml, write_yaml
from equipoise.objectives import OBJECTIVES


def test_every_objective_has_its_presets() -> None:
    assert PRESETS.keys() == OBJECTIVES.keys()
    for name, presets in PRESETS.items():
        assert presets["default"].objective == OBJECTIVES[name]()
        assert all(config.objective_name == name for config in presets.values())
        assert ("toy" in presets) == (not OBJECTIVES[name]().needs.levels)  # points are not discrete
        assert OBJECTIVES[name].presets().keys() <= presets.keys()


@pytest.mark.parametrize("name", PRESETS["began"])
def test_presets_survive_yaml(name: str) -> None:
    config = PRESETS["began"][name]
    assert read_yaml(write_yaml(config, {}), "it") == config


def test_the_papers_preset_is_the_papers() -> None:
    paper = PRESETS["began"]["paper"]
    assert paper.objective == BEGAN.paper()
    assert paper.network == Autoencoder(width=128, latent=64, init="normal", eta=1, skips=False, residual=0)
    assert (paper.lr, paper.beta1, paper.beta2, paper.batch) == (1e-4, 0.5, 0.999, 16)
    assert (paper.prior, paper.ema, paper.lr_patience, paper.lr_window) == ("uniform", 0, 10, 500 * 16)
    assert paper.lr_floor == 2e-5
    assert (paper.separate_latents, paper.precision, paper.images) == (True, "fp32", 400_000 * 16)
    skips = PRESETS["began"]["paper-skips"]
    assert skips == paper.with_changes(network=replace(paper.network, skips=True, residual=16_000 * 16))
