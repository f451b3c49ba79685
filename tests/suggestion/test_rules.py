"""The rules, from facts that are given to settings: no data, no clock."""

import math
from dataclasses import replace
from typing import Any

import pytest

from equipoise import UsageError
from equipoise.config.changes import flat
from equipoise.config.presets import PRESETS
from equipoise.objectives import Tasks
from equipoise.suggestion.facts import Facts
from equipoise.suggestion.rules import LENGTHS, MANY, Choice, choose, remarks, require_enough, within
from equipoise.suggestion.suggest import CHOSEN

CARS = Facts("cars", 5000, 1000, (32, 32), 3, texture=0.43, dimension=23.0, asymmetry=0.0003, classes=0)
FAST, SLOW = 1e6, 100.0  # images a second at 32x32


def settings(facts: Facts, probe: float = FAST, minutes: float | None = None, **given: Any) -> dict[str, Any]:
    return {choice.setting: choice.value for choice in choose(facts, given, probe, minutes)}


def test_every_choice_is_of_a_setting_and_has_its_reason() -> None:
    known = set(flat(PRESETS["began"]["default"].to_dict()))
    for count in (None, 60, 400, 5000, 60_000):
        choices = choose(replace(CARS, count=count), {}, FAST)
        names = [choice.setting for choice in choices]
        assert len({*names}) == len(names)
        assert {*names} <= known & {*CHOSEN}
        assert names[-1] == "images"
        assert all(choice.reason for choice in choices)


@pytest.mark.parametrize(
    ("texture", "channels", "gamma", "wavelet", "lr", "ratio"),
    [
        (0.44, 3, 0.85, 2, 1e-3, 1.0),  # photographs
        (0.44, 1, 0.85, 2, 1e-3, 1.0),
        (0.04, 3, 0.85, 2, None, None),  # emoji
        (0.04, 1, 1.0, None, None, None),
        (0.0, 1, 1.0, None, None, None),  # digits
    ],
)
def test_all_but_gray_drawings_have_a_gamma_below_one_and_a_wavelet(
    texture: float, channels: int, gamma: float, wavelet: int | None, lr: float | None, ratio: float | None
) -> None:
    chosen = settings(replace(CARS, texture=texture, channels=channels))
    assert (chosen["objective.gamma"], chosen.get("network.wavelet")) == (gamma, wavelet)
    assert (chosen.get("lr"), chosen.get("network.width_ratio")) == (lr, ratio)


@pytest.mark.parametrize("given", [{"edges": 1.0}, {"eta": 2}, {"wavelet": 0}])
def test_drawings_in_colour_whose_pixels_are_the_energy_keep_a_gamma_of_one(given: dict[str, float]) -> None:
    kept = {f"network.{name}": value for name, value in given.items()}
    drawings, photographs = (choose(replace(CARS, texture=texture), kept, FAST) for texture in (0.04, 0.44))
    gammas = [{choice.setting: choice.value for choice in each}["objective.gamma"] for each in (drawings, photographs)]
    assert gammas == [1.0, 0.85]


@pytest.mark.parametrize(
    ("given", "chosen"),
    [({"edges": 1.0}, False), ({"edges": 0.0}, True), ({"eta": 2}, False), ({"eta": 1}, True)],
)
def test_there_is_no_wavelet_beside_edges_and_none_for_squared_errors(given: dict[str, float], chosen: bool) -> None:
    choices = choose(CARS, {f"network.{name}": value for name, value in given.items()}, FAST)
    assert ("network.wavelet" in {choice.setting for choice in choices}) == chosen


@pytest.mark.parametrize(
    ("size", "count", "probe", "side"),
    [
        ((32, 32), 5000, FAST, 32),
        ((28, 28), 5000, FAST, 32),  # padded
        ((27, 40), 5000, FAST, 16),  # not enlarged
        ((640, 480), 5000, FAST, 128),
        ((640, 480), 400, FAST, 64),
        ((136, 128), 5000, FAST, 128),
        ((100, 640), 5000, FAST, 64),
        ((640, 480), 5000, SLOW, 32),
        ((5, 5), 5000, FAST, 16),
    ],
)
def test_the_resolution_is_that_of_the_images_as_far_as_the_machine_has_time(
    size: tuple[int, int], count: int, probe: float, side: int
) -> None:
    assert settings(replace(CARS, size=size, count=count), probe)["resolution"] == side


def test_more_time_is_a_larger_resolution_and_shorter_runs_too() -> None:
    """300,000 images at 64x64 are 1,200,000 at 32x32: 12,000 seconds at 100 a second."""
    large = replace(CARS, size=(640, 480))
    assert settings(large, SLOW, minutes=12_000 / 60 - 1)["resolution"] == 32
    assert settings(large, SLOW, minutes=12_000 / 60 + 1)["resolution"] == 64
    assert settings(large, SLOW, minutes=12_000 / 60 - 1, images=250_000)["resolution"] == 64


def test_widths_go_by_the_number_of_images_and_by_time() -> None:
    for count, probe, width in (
        (100, FAST, 32),
        (MANY - 1, FAST, 32),
        (MANY, FAST, 64),
        (MANY, SLOW, 32),
    ):
        assert settings(replace(CARS, count=count), probe)["network.width"] == width
    wide = replace(CARS, count=MANY, size=(640, 480))
    assert settings(wide, probe=3000.0, resolution=32)["network.width"] == 64
    assert settings(wide, probe=3000.0, resolution=128)["network.width"] == 32


def test_the_latent_has_two_numbers_for_each_dimension() -> None:
    for dimension, latent in ((None, 64), (4.0, 64), (32.0, 64), (33.0, 128), (500.0, 256)):
        assert settings(replace(CARS, dimension=dimension))["network.latent"] == latent


def test_only_photographs_that_are_surely_as_likely_are_mirrored() -> None:
    assert settings(CARS)["flip"] is True
    for doubt in (
        replace(CARS, texture=0.0),
        replace(CARS, asymmetry=0.03),
        replace(CARS, count=100),
        replace(CARS, count=100_000),
        replace(CARS, count=None),
    ):
        assert settings(doubt)["flip"] is False


def test_the_length_goes_by_the_number_of_images_within_limits() -> None:
    assert settings(CARS)["images"] == 300_000
    assert settings(CARS, **{"objective.name": "gan"})["images"] == 500_000
    assert settings(replace(CARS, texture=0.0))["images"] == 500_000
    assert settings(replace(CARS, count=100))["images"] == LENGTHS[0]
    assert settings(replace(CARS, count=10**7))["images"] == LENGTHS[1]
    assert settings(replace(CARS, count=None))["images"] == LENGTHS[1]


def test_large_drawings_are_learnt_in_small_batches_and_slowly() -> None:
    faces = replace(CARS, size=(64, 64), texture=0.03)

    def chosen(facts: Facts = faces, **given: Any) -> tuple[Any, Any]:
        values = {choice.setting: choice.value for choice in choose(facts, given, FAST)}
        return values.get("batch"), values.get("lr")

    assert chosen() == (32, 1e-3)
    assert chosen(resolution=32) == (None, None)
    assert chosen(batch=64) == (None, None)
    assert chosen(lr=1.5e-3) == (None, None)  # of another network too, whose rate is not chosen
    assert chosen(**{"objective.name": "ebgan"}) == (None, None)
    assert chosen(replace(faces, texture=0.44)) == (None, 1e-3)  # photographs
    assert chosen(replace(faces, count=71)) == (16, 1e-3)


def test_batches_of_few_images_are_small_enough_for_an_epoch_to_have_two() -> None:
    assert "batch" not in settings(replace(CARS, count=144))
    for count, batch in ((143, 32), (72, 32), (71, 16), (50, 16)):
        assert settings(replace(CARS, count=count))["batch"] == batch
    assert settings(replace(CARS, count=300), held_out=0.5, test=0.3)["batch"] == 16
    assert settings(replace(CARS, count=250), held_out=0.5)["batch"] == 32


def test_few_images_are_augmented() -> None:
    for count, texture, augmented in ((400, 0.0, True), (5_000, 0.0, False), (5_000, 0.4, True), (20_000, 0.4, False)):
        chosen = settings(replace(CARS, count=count, texture=texture))
        assert ("translation" in chosen.get("augment", ())) == augmented
        assert "scale" not in chosen.get("augment", ()), "which few photographs alone are, by BEGAN"
    photographs = replace(CARS, count=400)
    assert settings(photographs)["augment"] == ["translation", "scale"]
    assert settings(photographs, **{"objective.name": "gan"})["augment"] == ["translation"]


def test_a_run_is_as_long_as_the_time_or_as_the_images_are_good_for() -> None:
    length = Choice("images", 200_000, "40 times 5,000 images")
    assert within(10, 200.0, length).value == 120_000
    assert within(100, 200.0, length).value == 200_000
    assert within(1e-6, 200.0, length).value == 1_000
    assert "as few as are taken" in within(1e-6, 200.0, length).reason
    assert "short" in within(1, 200.0, length).reason
    assert "short" not in within(10, 200.0, length).reason


def test_what_else_is_to_be_known_is_told() -> None:
    assert remarks(CARS, Tasks(), busy_cores=0.1) == []
    few, labelled, busy = remarks(replace(CARS, count=400, classes=3), Tasks(), busy_cores=1.5)
    assert "few" in few
    assert "--classify-d" in labelled
    assert busy.endswith("1.5 cores busy, without which it is quicker")
    assert "OMP_NUM_THREADS=1 " in remarks(CARS, Tasks(), busy_cores=1.5, fewer_threads=1)[0]
    assert remarks(replace(CARS, classes=3), Tasks(classify_d=1), busy_cores=0.0) == []


def test_too_few_images_are_refused_with_what_to_do() -> None:
    require_enough(replace(CARS, count=50))
    require_enough(replace(CARS, count=None))
    for count, words in ((49, "49 images, .* bring 50 or more.*--preset default --batch 12$"), (1, "1 image, .*,000$")):
        with pytest.raises(UsageError, match=words):
            require_enough(replace(CARS, count=count))


def test_nothing_depends_on_an_infinite_speed() -> None:
    """It stands for one that is not needed, as resolution and width are given."""
    assert settings(CARS, math.inf, resolution=32)["images"] == 300_000
