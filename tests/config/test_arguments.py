"""Arguments of the public functions: what Python would only trip over somewhere below is refused in a sentence."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch

import equipoise
from equipoise import Autoencoder, Run, Scores, TrainConfig, UsageError
from equipoise.config.arguments import checked, kind_in_words
from equipoise.config.numbers import Count

FUNCTIONS = {name: value for name in equipoise.__all__ if inspect.isfunction(value := getattr(equipoise, name))}
METHODS = {"Run.open": Run.open, "Run.create": Run.create, "Scores.read": Scores.read}
CALLABLES: dict[str, Callable[..., Any]] = {**FUNCTIONS, **METHODS, "TrainConfig.from_dict": TrainConfig.from_dict}
ARGUMENTS = [
    (name, argument.name)
    for name, function in CALLABLES.items()
    for argument in inspect.signature(function).parameters.values()
    if argument.kind is not inspect.Parameter.VAR_KEYWORD
]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
@pytest.mark.parametrize("wrong", [object(), {"a": object()}], ids=["object", "dictionary"])
def test_every_argument_of_every_public_function_is_checked(
    name: str, argument: str, wrong: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So it is with those of functions that are yet to be written."""
    monkeypatch.chdir(tmp_path)
    if (name, argument) == ("TrainConfig.from_dict", "values") and isinstance(wrong, dict):
        pytest.skip("such a one is right")
    function = CALLABLES[name]
    kinds = {Run: Run(tmp_path, TrainConfig()), TrainConfig: TrainConfig(), Count: 1}
    hints = get_type_hints(function, include_extras=True)
    needed = {
        each.name: kinds.get(hints[each.name], "a.png")
        for each in inspect.signature(function).parameters.values()
        if each.default is inspect.Parameter.empty and each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    with pytest.raises(UsageError, match=rf"^{argument} should be .*, not "):
        function(**{**needed, argument: wrong})
    assert not list(tmp_path.iterdir())


def test_what_should_have_been_given_is_named() -> None:
    with pytest.raises(UsageError, match=r"run should be a Run .*Run.open.*, not 'runs/photos'"):
        equipoise.load_generator("runs/photos")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="config should be a TrainConfig, not 'began'"):
        equipoise.train("began")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"device should be 'auto' or 'cpu' or .*, not 'tpu'"):
        equipoise.evaluate("runs/photos", device="tpu")  # type: ignore[arg-type]


def test_a_path_is_what_a_python_user_has() -> None:
    config = TrainConfig(data=Path("photos") / "cats")  # type: ignore[arg-type]
    assert config.data == "photos/cats"
    assert config.run_name == "began-cats-32"
    with pytest.raises(ValueError, match="data"):
        TrainConfig(data=7)  # type: ignore[arg-type]


def test_arrays_of_a_wrong_shape(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small.with_changes(images=16), tmp_path / "run", quiet=True)
    generator = equipoise.load_generator(run)
    for latents in (torch.zeros(8), torch.zeros(3, 9), torch.zeros(2, 8, 1), np.zeros((2, 8)), "latents"):
        with pytest.raises(UsageError, match=r"latents are a tensor \(N, 8\), not"):
            generator(latents)
    for latents in (np.zeros(8), torch.zeros(3, 9), [[1.0, 2.0], [3.0]], np.full((1, 8), "a")):
        with pytest.raises(UsageError, match="latents"):
            equipoise.sample(run, latents=latents)  # type: ignore[arg-type]
    for labels in (torch.zeros(2, 2, dtype=torch.int64), torch.zeros(3), torch.zeros(0, dtype=torch.int64)):
        with pytest.raises(UsageError, match="labels"):
            equipoise.sample(run, 3, labels=labels)
    for images in (np.zeros((2, 16, 16), np.uint8), np.zeros((2, 1, 16, 16)), torch.zeros(0, 1, 16, 16).byte()):
        for function in (equipoise.invert, equipoise.reconstruct, equipoise.outliers):
            with pytest.raises(UsageError, match=r"uint8 \(N, 1, 16, 16\)"):
                function(run, images)
    assert equipoise.sample(run, np.int64(2), seed=np.int64(1)).shape == (2, 1, 16, 16)  # type: ignore[arg-type]


@checked
def some(path: Path | str, count: Count = 3, *, names: list[str] | None = None, **rest: object) -> tuple[object, ...]:
    return path, count, names, rest


def test_arguments_arrive_as_they_were_given() -> None:
    assert some("a") == ("a", 3, None, {})
    assert some(Path("a"), 4, names=["b"], more=object) == (Path("a"), 4, ["b"], {"more": object})
    assert some("a", "2k") == ("a", 2000, None, {})  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="count: .*greater than or equal to 1, not 0"):
        some("a", 0)
    with pytest.raises(TypeError, match="path"):
        some()  # type: ignore[call-arg]
    with pytest.raises(UsageError) as refusal:
        some("a", [0] * 10**6)  # type: ignore[arg-type]
    assert len(str(refusal.value)) < 200


def test_kinds_in_words() -> None:
    assert kind_in_words(Count | None) == "a whole number or None"
    assert kind_in_words(Autoencoder) == "an Autoencoder"
