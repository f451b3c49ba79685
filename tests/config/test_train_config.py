"""Configurations: YAML both ways, and clear words about what is wrong."""

from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from equipoise import BEGAN, PRESETS, Autoencoder, TrainConfig, UsageError
from equipoise.config.numbers import parse_count
from equipoise.config.train_config import read_yaml, write_yaml


@given(
    st.builds(
        TrainConfig,
        objective=st.builds(BEGAN, gamma=st.floats(0.01, 1), pull=st.floats(0, 10), relative=st.booleans()),
        network=st.builds(Autoencoder, width=st.integers(1, 512), skips=st.booleans(), eta=st.sampled_from([1, 2])),
        data=st.text(min_size=1).filter(str.isprintable),
        images=st.integers(1, 10**12),
        lr=st.floats(1e-9, 1),
        channels=st.sampled_from([None, 1, 3]),
    )
)
def test_yaml_there_and_back(config: TrainConfig) -> None:
    assert read_yaml(write_yaml(config, {"equipoise": "0"}), "it") == config


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("objective: {name: began, gama: 0.3}", r"unknown key 'gama' in objective began \(did you mean 'gamma'\?\)"),
        ("reslution: 32", r"unknown key 'reslution' in the configuration \(did you mean 'resolution'\?\)"),
        ("network: {name: autoencoder, widht: 3}", r"unknown key 'widht'.*'width'"),
        ("objective: {name: begna}", r"unknown objective 'begna' \(did you mean 'began'\?\)"),
        ("objective: 3", "unknown objective 3"),
        ("objective: {name: began, gamma: 0}", "gamma: input should be greater than 0, not 0"),
        ("objective: {name: began, gamma: 1.5}", "gamma: input should be less than or equal to 1, not 1.5"),
        ("batch: 0", "batch: input should be greater than or equal to 1, not 0"),
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


def test_yaml_names_the_versions(tmp_path: Path) -> None:
    from equipoise.runs.run import versions

    made_with = yaml.safe_load(write_yaml(TrainConfig(), versions()))["made_with"]
    assert {"equipoise", "torch", "python"} <= set(made_with)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("300k", 300_000),
        ("1.5M", 1_500_000),
        ("12", 12),
        ("0.5k", 500),
        ("1_000", 1000),
        (7, 7),
        ("k", "k"),
        ("-3", "-3"),
    ],
)
def test_counts(text: object, value: object) -> None:
    assert parse_count(text) == value


def test_a_fraction_of_an_image_is_refused() -> None:
    with pytest.raises(ValueError, match="not a whole number"):
        parse_count("1.0001k")
    with pytest.raises(UsageError, match="not a whole number"):
        read_yaml("images: 0.0005k", "it")
    assert read_yaml("images: 20k", "it").images == 20_000
