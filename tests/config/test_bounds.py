"""Every number of a configuration has bounds, which are checked before anything else happens."""

import math
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import equipoise
from command import Command
from equipoise import Run, TrainConfig, UsageError
from equipoise.config.changes import flat
from equipoise.config.numbers import MAX_COUNT, MAX_SEED
from equipoise.config.train_config import read_yaml, write_yaml
from equipoise.errors import MOST_SHOWN
from equipoise.networks import NETWORKS
from equipoise.objectives import OBJECTIVES

EXTREMES = ["-1", "0", "-9223372036854775808", "9223372036854775808", "nan", "inf", "-inf", "1e308", "1e-320", "1e999"]
EXTREMES += [
    "9" * 400,
    "9" * 40_000,
    "-" + "9" * 40_000,
    "0." + "0" * 40_000 + "1",
    "9" * 5_000 + "k",
    "٣",
    "",
    " ",
    "1_0",
]
TYPED = ["-1", "nan", "inf", "1e308", "9" * 400, "-" + "9" * 40_000]  # on the command line, which is slow to parse
PARTS = [*OBJECTIVES.items(), *NETWORKS.items()]


def numbers_of(part: Any) -> list[str]:
    """Names of the fields that are numbers."""
    return [each.name for each in fields(part) if type(getattr(part, each.name)) in {int, float}]


def check(config: TrainConfig) -> None:
    """Whatever was accepted is finite and no larger than a file's name, a float or numpy takes, and survives YAML."""
    for name, value in flat(config.to_dict()).items():
        if type(value) in {int, float}:
            assert math.isfinite(value), name
            assert abs(value) <= (MAX_SEED if name == "seed" else MAX_COUNT), name
    assert read_yaml(write_yaml(config, {}), "it") == config


@pytest.fixture
def accepted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[TrainConfig]]:
    """The configurations with which a training would have started."""
    seen: list[TrainConfig] = []

    def start(config: TrainConfig, *_: object, **__: object) -> None:
        seen.append(config)
        raise UsageError("not now")

    monkeypatch.setattr("equipoise.cli.train.start_training", start)
    return seen


@pytest.mark.parametrize("name", [*numbers_of(TrainConfig()), "held_out", "resolution", "crop"])
def test_every_number_on_the_command_line(
    name: str, within: Command, accepted: list[TrainConfig], tmp_path: Path
) -> None:
    for text in TYPED:
        done = within("train", "began", f"--{name.replace('_', '-')}={text}")
        assert done.returncode == 2, text[:50]
        assert done.stderr.count("\n") == 1, text[:50]
        assert len(done.stderr) < MOST_SHOWN + 100, text[:50]
    for config in accepted:
        check(config)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "kind"), PARTS, ids=[name for name, _ in PARTS])
def test_every_number_of_objectives_and_networks(name: str, kind: type) -> None:
    key = "objective" if name in OBJECTIVES else "network"
    values = [cast(text) for text in EXTREMES for cast in (str, float, int) if castable(text, cast)]
    for field in numbers_of(kind()):
        for value in values:
            settings: dict[str, Any] = {key: {"name": name, field: value}}
            if key == "network":
                settings["objective"] = {"name": "gan" if "logit" in kind().score_kinds else "began"}
            try:
                config = TrainConfig.from_dict(settings)
            except UsageError:  # whose length is bounded by itself
                continue
            check(config)


def castable(text: str, kind: type) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--images", "-1"), "images: input should be greater than or equal to 1, not -1"),
        (("--seed", "-1"), "seed: input should be greater than or equal to 0, not -1"),
        (("--images", "9" * 5000), "has too many digits"),
        (("--width", "4096", "--latent", "65536", "--network", "autoencoder"), "these networks alone take"),
    ],
)
def test_a_number_out_of_bounds_leaves_no_folder(
    words: tuple[str, ...], message: str, within: Command, tmp_path: Path
) -> None:
    done = within("train", "began", "--device", "cpu", "--out", "run", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "run").exists()


def test_numbers_of_other_commands(small: TrainConfig, within: Command, tmp_path: Path) -> None:
    run = equipoise.train(small.with_changes(images=16, batch=16), tmp_path / "run", quiet=True)
    for words in (
        ("sample", run.path, "--count", "0"),
        ("sample", run.path, "--seed", "-1"),
        ("sample", run.path, "--seed", "9" * 40_000),
        ("evaluate", run.path, "--count", "-1"),
        ("evaluate", run.path, "--seed", MAX_SEED + 1),
        ("evaluate", run.path, "--devices", "1000000"),
        ("resume", run.path, "--images", "1e3"),
        ("bench", "--seconds", "nan"),
        ("bench", "--batch", "0"),
    ):
        done = within(*words)
        assert done.returncode == 2, words
        assert done.stderr.count("\n") == 1, done.stderr
    for count in (0, -1):
        with pytest.raises(UsageError, match=f"count: input should be greater than or equal to 1, not {count}"):
            equipoise.sample(Run.open(run.path), count)
    with pytest.raises(UsageError, match="seed: "):
        equipoise.evaluate(run, seed=-1)
