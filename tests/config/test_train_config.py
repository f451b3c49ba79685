"""Configurations: YAML both ways, and errors of one sentence."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from equipoise import BEGAN, Autoencoder, TrainConfig, UsageError
from equipoise.config.train_config import read_yaml, write_yaml
from equipoise.evaluation.request import Request
from equipoise.networks import NETWORKS
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.sampling.invert import Search


@given(
    st.builds(
        TrainConfig,
        objective=st.builds(
            BEGAN, gamma=st.floats(0.01, 1), pull=st.floats(0, 10), boundary=st.sampled_from(["image", "batch"])
        ),
        network=st.builds(Autoencoder, width=st.integers(1, 512), skips=st.booleans(), eta=st.sampled_from([1, 2])),
        data=st.text(min_size=1).filter(str.isprintable),
        images=st.integers(1, 10**11),
        lr=st.floats(1e-9, 1),
        channels=st.sampled_from([None, 1, 3]),
        held_out=st.just("auto") | st.floats(0, 0.5),
        label=st.none() | st.text(min_size=1).filter(str.isprintable),
        crop=st.none() | st.integers(1, 8192),
    )
)
def test_yaml_there_and_back(config: TrainConfig) -> None:
    assert read_yaml(write_yaml(config, {"equipoise": "0"}), "it") == config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective: {name: began, gama: 0.3}", r"unknown key 'gama' in objective began \(did you mean 'gamma'\?\)"),
        ("reslution: 32", r"unknown key 'reslution' in the configuration \(did you mean 'resolution'\?\)"),
        ("network: {name: autoencoder, widht: 3}", r"unknown key 'widht'.*'width'"),
        ("objective: {name: begna}", r"unknown objective 'begna' \(did you mean 'began'\?\)"),
        ("objective: 3", "unknown objective 3"),
        ("objective: {name: began, gamma: 0}", "gamma: input should be greater than 0, not 0"),
        ("objective: {name: began, gamma: 2.5}", "gamma: input should be less than or equal to 2, not 2.5"),
        (
            "objective: {name: began, boundary: batch, gamma: 1.5}",
            "--gamma is at most 1 with --boundary batch, not 1.5",
        ),
        ("batch: 0", "batch: input should be greater than or equal to 1, not 0"),
        ("crop: 0", "crop: input should be greater than or equal to 1, not 0"),
        ("crop: 9000", "crop: input should be less than or equal to 8192, not 9000"),
        ("held_out: 0.6", "held-out: should be a share from 0 to 0.5, or auto, not 0.6"),
        ("held_out: -1", "held-out: should be a share from 0 to 0.5, or auto, not -1"),
        ("held_out: own", "held-out: should be a share from 0 to 0.5, or auto, not 'own'"),
        ("held_out: .nan", "held-out: should be a share from 0 to 0.5, or auto, not nan"),
        ("held_out: [0.1]", r"held-out: should be a share from 0 to 0.5, or auto, not \[0.1\]"),
        ("held_out: true", "held-out: should be a share from 0 to 0.5, or auto, not True"),
        ("tasks: {adversarial: 0}", "leaves nothing to learn: give one a weight$"),
        ("augment: colour", r"augment: input should be a list, as \[a, b\], not 'colour'"),
        ("lr: fast", "lr: input should be a valid number.*not 'fast'"),
        ("images: 1.5", "images: "),
        ("device: tpu", "device: input should be 'auto', 'cpu', 'cuda' or 'mps', not 'tpu'"),
        ("{batch: 6, devices: 4}", "--batch 6 does not divide by --devices 4"),
        ("- a list", "must hold a mapping"),
        ("", "must hold a mapping"),
        ("a: [", "is not valid YAML"),
        ("!!python/object/apply:os.system [true]", "is not valid YAML"),
        ("1: 2", "must hold a mapping"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_yaml(text, "run.yaml")
    assert str(caught.value).startswith("run.yaml")
    assert "\n" not in str(caught.value)


@given(st.text())
def test_no_text_at_all_breaks_the_reader(text: str) -> None:
    with suppress(UsageError):
        read_yaml(text, "it")


@pytest.mark.parametrize("make", [TrainConfig, *OBJECTIVES.values(), *NETWORKS.values(), Tasks, Request, Search])
def test_a_setting_that_is_misspelt_is_no_setting(make: Any) -> None:
    with pytest.raises(ValueError, match="gama"):
        make(gama=0.3)


def test_yaml_names_the_versions(tmp_path: Path) -> None:
    from equipoise.runs.run import versions

    made_with = yaml.safe_load(write_yaml(TrainConfig(), versions()))["made_with"]
    assert {"equipoise", "torch", "python"} <= set(made_with)
