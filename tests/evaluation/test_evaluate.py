"""Scoring from end to end: real runs and real files, whatever the batches, the processes and the cache."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equipoise import PRESETS, Run, Scores, TrainConfig, UsageError, evaluate, resume, sample, train
from equipoise.data import cache_folder, open_images
from equipoise.evaluation.evaluate import choose_metrics
from equipoise.evaluation.features import image_statistics
from equipoise.evaluation.image_sets import ImageSet, generated_images, stored_images
from equipoise.evaluation.request import Request
from equipoise.evaluation.suspects import suspects_sheet
from equipoise.metrics import (
    METRICS,
    Available,
    FeatureBatch,
    Limits,
    MetricInputs,
    MetricResult,
    Statistic,
    accumulate,
    compute_metrics,
    memorisation,
    nearest,
    required_statistics,
)
from equipoise.metrics.features import load_extractor
from equipoise.metrics.reconstruction import reconstruct
from equipoise.networks import Autoencoder
from equipoise.randomness import keyed_generator

BY_NAME = ("reconstruction", "fid-infinity", "gaussian-mmd")  # what is left out unless it is asked for
CLIP_ONLY = "cmmd"
FAST = ("kid", "fid", "precision", "recall", "density", "coverage", "ms-ssim")
Bytes = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    few = partial(accumulate, limits=Limits(patches_per_image=8))
    monkeypatch.setattr("equipoise.evaluation.features.accumulate", few)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run that was scored three times while it trained."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        config = PRESETS["began"]["remedies"].with_changes(
            network=Autoencoder(width=4, latent=8),
            resolution=16,
            lr=2e-4,
            images=240,
            log_every=80,
            sample_every=240,
            checkpoint_every=240,
            score_every=80,
            score_count=40,
            ema=100,
            precision="fp32",
            device="cpu",
        )
        yield train(config, tmp_path_factory.mktemp("runs") / "run", quiet=True)


def digits() -> tuple[Bytes, NDArray[np.int64]]:
    images = open_images("digits", resolution=32)
    places = np.arange(0, 5000, 8)
    assert images.labels is not None
    return images.batch(places).numpy(), images.labels[places]


def saved(path: Path, images: Bytes) -> Path:
    np.save(path, images)
    return path


def noisy(images: Bytes, deviation: float) -> Bytes:
    noise = np.random.default_rng(1).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def value(scores: Scores, name: str) -> float:
    return scores.figures[name]["value"]


def close(one: Scores, other: Scores) -> None:
    assert one.protocol == other.protocol
    assert one.subject == other.subject
    assert one.figures.keys() == other.figures.keys()
    for name, figures in one.figures.items():
        assert figures == pytest.approx(other.figures[name], rel=1e-4, abs=1e-6), name


def test_a_run_beside_its_held_out_images(run: Run) -> None:
    metrics = ("fid", "memorisation")
    scores = evaluate(run, features="pixels", count=150, quiet=True, device="cpu", metrics=metrics, draws=1)
    train_part, held = open_images("digits", resolution=16).split(0.1)
    real = held.batch(torch.randperm(len(held), generator=keyed_generator(0, "chosen")).numpy()[:150]).numpy()
    made = sample(run, 150).numpy()
    assert value(scores, "fid") == pytest.approx(_fid(made, real), rel=1e-4)
    train_near = train_part.batch(np.arange(len(train_part)))
    a, b = (nearest(torch.from_numpy(x) / 255.0, [train_near / 255.0]).distances for x in (made, real))
    assert value(scores, "memorisation") == pytest.approx(memorisation(a, b).share, abs=0.01)
    assert scores.protocol["reference"] == {"identity": held.fingerprint, "count": 150, "split": "held-out 0.1"}
    assert scores.figures["fid"]["biased"] == 1.0
    assert any("fid is too high with fewer than 2,560 images" in note for note in scores.notes)


def test_the_last_seed_serves_for_two_runs_too(run: Run) -> None:
    last = 2**63 - 1
    scores = evaluate(run, run.path, features="pixels", count=20, seed=last, quiet=True, device="cpu", metrics=("kid",))
    assert scores.protocol["seed"] == last


def _fid(a: Bytes, b: Bytes) -> float:
    """The distance by scipy's root of a matrix, in a space whose covariances have full rank beside a small ridge."""
    x, y = (images.reshape(len(images), -1).astype(np.float64) / 127.5 - 1 for images in (a, b))
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x + 1e-12 * np.eye(len(cov_x))) @ scipy.linalg.sqrtm(
        cov_y + 1e-12 * np.eye(len(cov_y))
    )
    cross = np.linalg.svd(root, compute_uv=False).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(cov_x) + np.trace(cov_y) - 2 * cross)


def test_by_default_all_that_applies(run: Run) -> None:
    scores = evaluate(run, count=120, quiet=True, device="cpu", draws=1)
    assert list(scores.figures) == [name for name in METRICS if name not in (*BY_NAME, CLIP_ONLY)]
    assert scores.protocol["features"]["name"] == "digits"
    few = evaluate(run, count=40, quiet=True, device="cpu", draws=1)
    assert "fid" not in few.figures
    assert any("fid, inception-score: left out, for there are only 40 images in a set" in note for note in few.notes)


def test_reconstruction_of_held_out_images(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    two = replace(METRICS["reconstruction"], compute=partial(reconstruct, images=2))
    monkeypatch.setitem(METRICS, "reconstruction", two)
    figures = evaluate(run, count=20, quiet=True, device="cpu", metrics=("reconstruction",)).figures["reconstruction"]
    assert figures["images"] == 2
    assert "deviation" not in figures, "it is of the generator, not of samples"
    assert 0 < figures["value"] < 1, "a gray image has about that error"


def test_a_set_and_itself_are_ideal(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", digits()[0])
    scores = evaluate(path, path, quiet=True, device="cpu", features="digits")
    assert value(scores, "kid") <= 0
    assert value(scores, "fid") == pytest.approx(0, abs=1e-6)
    assert value(scores, "sliced-wasserstein") == 0
    assert [value(scores, name) for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert scores.figures["modes"] | {"clear": 0} == {"value": 10, "of": 10, "clear": 0, "kl": 0, "js": 0}
    for name in ("inception-score", "ms-ssim"):
        assert value(scores, name) == scores.figures[name]["real"]


def test_worse_with_more_noise_and_with_more_dropped_modes(tmp_path: Path) -> None:
    images, labels = digits()
    reference, subject, labels = saved(tmp_path / "real.npy", images[::2]), images[1::2], labels[1::2]

    def score(changed: Bytes) -> Scores:
        path = saved(tmp_path / "changed.npy", changed)
        return evaluate(path, reference, quiet=True, device="cpu", features="digits", count=150)

    clean, *noised = (score(noisy(subject, deviation)) for deviation in (0, 40, 90))
    _, *dropped = (score(subject[labels < most]) for most in (10, 8, 5))
    for worse in (noised, dropped):
        ordered = [clean, *worse]
        for name in ("kid", "fid"):
            assert value(ordered[0], name) < value(ordered[1], name) < value(ordered[2], name)
        assert value(ordered[0], "coverage") > value(ordered[1], "coverage") > value(ordered[2], "coverage")
    assert [value(scores, "modes") for scores in (clean, *dropped)] == [10, 8, 5]
    assert clean.figures["modes"]["kl"] < dropped[0].figures["modes"]["kl"] < dropped[1].figures["modes"]["kl"]
    assert value(noised[1], "sliced-wasserstein") > value(noised[0], "sliced-wasserstein")


def test_scores_are_means_over_draws_of_samples(run: Run, tmp_path: Path) -> None:
    """Each draw has the next samples of the same seed; what its own file of them scores is what it adds."""
    how: dict[str, Any] = {"quiet": True, "device": "cpu", "features": "pixels", "metrics": ("fid", "ms-ssim")}
    together = evaluate(run, count=110, draws=3, **how)
    alone = evaluate(run, count=110, draws=1, **how)
    samples = sample(run, 330).numpy()
    _, held = open_images("digits", resolution=16).split(0.1)
    chosen = torch.randperm(len(held), generator=keyed_generator(0, "chosen")).numpy()[:110]
    real = held.batch(np.sort(chosen)).numpy()
    parts = [_fid(samples[start : start + 110], real) for start in (0, 110, 220)]
    assert value(together, "fid") == pytest.approx(np.mean(parts), rel=1e-4)
    assert together.figures["fid"]["deviation"] == pytest.approx(np.std(parts, ddof=1), rel=1e-3)
    assert value(alone, "fid") == pytest.approx(parts[0], rel=1e-4)
    assert "deviation" not in alone.figures["fid"]
    assert together.protocol == alone.protocol, "one draw may be compared with three"
    assert (together.subject["draws"], alone.subject["draws"]) == (3, 1)


def test_images_on_the_disk_are_drawn_as_often_as_they_suffice(tmp_path: Path) -> None:
    images = digits()[0]
    path, real = saved(tmp_path / "made.npy", images[:100]), saved(tmp_path / "real.npy", images[100:200])
    how: dict[str, Any] = {"quiet": True, "device": "cpu", "features": "pixels", "metrics": ("kid", "recall")}
    for count, draws in ((33, 3), (50, 2), (51, 1), (100, 1)):
        scores = evaluate(path, real, count=count, **how)
        assert scores.subject["draws"] == draws
        assert ("deviation" in scores.figures["kid"]) == (draws > 1)
    twice = [evaluate(path, real, count=33, **how).figures for _ in range(2)]
    assert twice[0] == twice[1], "also where the draws come from the cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path / "another"))
        assert evaluate(path, real, count=33, **how).figures == twice[0]


def test_images_beside_themselves_are_copies_or_new_ones_never_both(tmp_path: Path) -> None:
    """A true baseline, of draws that share no image with the reference, where there are enough for one."""
    images = saved(tmp_path / "images.npy", digits()[0][:100])
    how: dict[str, Any] = {"quiet": True, "device": "cpu", "features": "pixels", "metrics": ("precision",)}
    for count, asked, draws in ((33, 3, 2), (50, 3, 1), (33, 1, 1), (51, 3, 1), (100, 3, 1)):
        scores = evaluate(images, images, count=count, draws=asked, **how)
        copies = count > 50
        assert scores.subject["draws"] == draws
        assert any("scores of copies" in note for note in scores.notes) == copies
        assert (value(scores, "precision") == 1) == copies


def _read(images: torch.Tensor, places: range) -> Iterator[torch.Tensor]:
    yield images[places.start : places.stop]


def test_a_sheet_of_suspects(run: Run, tmp_path: Path) -> None:
    """Copies of training images lead it, each beside the image that it copies."""
    training, held = open_images("digits", resolution=16).split(0.1)
    base, others = (part.batch(np.arange(200)) for part in (training, held))
    samples = torch.cat([others[:30], base[[70, 3]]])
    sets = [ImageSet("set", "", (1, 16, 16), len(images), partial(_read, images)) for images in (samples, base)]
    statistics = [
        accumulate([FeatureBatch(x, x.flatten(1).float())], frozenset({"vectors"}), total=len(x))
        for x in (samples, base)
    ]
    sheet = suspects_sheet(sets[0], sets[1], (statistics[0], statistics[1]))
    cells = np.asarray(sheet.convert("L"))[2 * 16 :]  # below the heading
    side, across = 96, 96 + 2 * 6
    first = [cells[6 : 6 + side, 6 + column * across :][:, :side] for column in range(4)]
    for cell, image in zip(first, base[[70, 70, 3, 3]], strict=True):
        assert np.array_equal(cell, image[0].numpy().repeat(6, axis=0).repeat(6, axis=1))
    evaluate(run, count=40, draws=1, metrics="kid", quiet=True, device="cpu", suspects=tmp_path / "suspects.png")
    with Image.open(tmp_path / "suspects.png") as picture:
        assert picture.size[0] >= 8 * across


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_batches_make_no_difference(run: Run, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits_extractor = load_extractor("digits", shape=(1, 16, 16))
    required = required_statistics(FAST)

    def results(size: int) -> dict[str, MetricResult]:
        monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / f"cache of {size}"))  # nothing is reused
        images = stored_images(open_images("digits", resolution=16), "digits", 110, seed=0, batch=size)
        samples = generated_images(run, Request(images=str(run.path), count=110), torch.device("cpu"))
        extractor = replace(digits_extractor, batch=size)
        parts = (image_statistics(each, required, extractor, seed=0) for each in (samples, images))
        return compute_metrics(FAST, MetricInputs(*parts))

    ours, whole = results(batch), results(110)
    assert list(ours) == list(whole) == list(FAST)
    for name, result in ours.items():
        assert result == pytest.approx(whole[name], rel=1e-4, abs=1e-6), name


def test_metrics_are_named_alone_together_or_all_of_them(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", digits()[0][:40])

    def names(metrics: str | list[str]) -> list[str]:
        scores = evaluate(path, path, quiet=True, device="cpu", features="pixels", metrics=metrics)
        return list(scores.figures)

    assert names("recall") == ["recall"]
    assert names(["recall", "kid"]) == ["kid", "recall"]
    assert set(names(["kid", "coverage"])) < set(names("all"))


@pytest.mark.long  # test_statistics.py has what each of them counts
def test_two_processes_equal_one(run: Run) -> None:
    how: dict[str, Any] = {"count": 131, "quiet": True, "device": "cpu", "metrics": (*FAST, "memorisation", "modes")}
    close(evaluate(run, devices=2, draws=2, **how), evaluate(run, draws=2, **how))


@pytest.mark.long
def test_two_processes_refuse_as_one(run: Run) -> None:
    with pytest.raises(UsageError, match="kid needs 20 images or more, not 3"):
        evaluate(run, devices=2, count=3, quiet=True, device="cpu", metrics="kid")


def test_a_reference_of_a_bundled_name_is_the_bundled_data(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run.path, tmp_path / "digits")

    def reference() -> object:
        settings = {"quiet": True, "device": "cpu", "count": 20, "metrics": "kid", "features": "pixels"}
        return evaluate(run, "digits", **settings).protocol["reference"]

    bundled = reference()
    monkeypatch.chdir(tmp_path)
    assert reference() == bundled


def test_reference_statistics_are_cached_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    images = digits()[0]
    made, real = saved(tmp_path / "made.npy", noisy(images[:100], 20)), saved(tmp_path / "real.npy", images[100:220])

    def score(reference: Path) -> tuple[Scores, set[str]]:
        scores = evaluate(made, reference, quiet=True, device="cpu", features="digits", metrics=("kid", "fid"))
        return scores, {file.name for file in (cache_folder() / "references").iterdir()}

    first, files = score(real)
    assert len(files) == 2
    again, same = score(Path(shutil.copy(real, tmp_path / "copy.npy")))
    assert same == files, "a copy elsewhere is the same images"
    assert again.figures == first.figures
    for file in files:  # a damaged file is as good as none
        (cache_folder() / "references" / file).write_bytes(b"damaged")
    assert score(real)[0].figures == first.figures
    other, more = score(saved(tmp_path / "real.npy", images[101:221]))
    assert len(more) == 3, "the same name with other images"
    assert other.figures != first.figures


def test_the_cache_holds_features_alone_and_never_more_than_its_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    real = stored_images(open_images("digits", 32), "digits", 60, 0)
    extractor, folder = load_extractor("digits", shape=real.shape), cache_folder() / "references"
    vectors: frozenset[Statistic] = frozenset({"vectors"})
    first = image_statistics(real, vectors | {"patches", "pictures"}, extractor, 0)
    size = next(folder.iterdir()).stat().st_size
    assert size < 60 * 64 * 4 + 1000, "float32 vectors"
    again = image_statistics(real, vectors | {"patches", "pictures"}, extractor, 0)
    assert all(torch.equal(tensor, first.tensors()[name]) for name, tensor in again.tensors().items())
    assert again.tensors().keys() == first.tensors().keys()
    image_statistics(real, frozenset({"pictures"}), extractor, 0)
    image_statistics(real, vectors, load_extractor("pixels", shape=real.shape), 0)
    assert len(list(folder.iterdir())) == 1, "what is cheap is computed again"
    monkeypatch.setattr("equipoise.evaluation.features.MOST_BYTES", 2 * size)
    for seed in (1, 0, 2):  # 0 is used again, so 1 goes
        image_statistics(real, vectors, extractor, seed)
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setattr("equipoise.evaluation.features.accumulate", None)
    for seed in (0, 2):
        image_statistics(real, vectors, extractor, seed)


def test_what_is_computed_by_default_with_all_and_by_name() -> None:
    everything = Available(side=32, classes=10, training=True, generator=True)
    usual, notes = choose_metrics(None, everything, (200, 100))
    assert (usual, notes) == ([name for name in METRICS if name not in (*BY_NAME, CLIP_ONLY)], [])
    every = [name for name in METRICS if name != CLIP_ONLY]
    assert choose_metrics(("all",), everything, (200, 100)) == (every, [])
    assert CLIP_ONLY in choose_metrics(None, replace(everything, extractor="clip-vitl14-336"), (200, 100))[0]
    with pytest.raises(UsageError, match="cmmd needs --features clip-vitl14-336: leave it out"):
        choose_metrics((CLIP_ONLY,), everything, (200, 100))
    assert choose_metrics(("fid", "kid"), everything, (200, 100)) == (["fid", "kid"], [])
    few, notes = choose_metrics(None, everything, (200, 40))
    assert set(usual) - set(few) == {"fid", "inception-score"}
    assert "fid, inception-score" in notes[0]
    plain, _ = choose_metrics(("all",), Available(side=15), (200, 100))
    assert set(METRICS) - set(plain) == {
        "inception-score",
        "sliced-wasserstein",
        "reconstruction",
        "memorisation",
        "authenticity",
        "modes",
        CLIP_ONLY,
    }


def test_too_few_and_too_small_images_leave_out_what_nobody_asked_for() -> None:
    """What can be computed is, and what cannot is said once, with what to do."""
    everything = Available(side=32, classes=10, training=True, generator=True)
    assert choose_metrics(("all",), everything, (200, 19), "do this") == (
        ["ms-ssim", "reconstruction"],
        [
            "kid, fid, fid-infinity, gaussian-mmd, inception-score, precision, recall, density, coverage, "
            "sliced-wasserstein, vendi, detail, grain, memorisation, authenticity, modes: "
            "left out, for there are only 19 images in a set: do this"
        ],
    )
    with pytest.raises(UsageError, match=r"nothing can be scored \(kid, .*only 1 image in a set: do this\)"):
        choose_metrics(None, everything, (200, 1), "do this")
    names, notes = choose_metrics(None, Available(side=8), (200, 200))
    assert names == ["kid", "fid", "precision", "recall", "density", "coverage", "vendi", "detail", "grain"]
    assert notes == ["sliced-wasserstein, ms-ssim: left out, for the images have 8 pixels a side"]
    with pytest.raises(UsageError, match="ms-ssim needs 11 pixels a side: leave it out of --metrics"):
        choose_metrics(("ms-ssim",), Available(side=8), (200, 200))


def test_the_remedy_is_for_who_reads_it(tmp_path: Path, run: Run) -> None:
    path = saved(tmp_path / "a.npy", digits()[0][:19, :, :8, :8])
    with pytest.raises(UsageError, match="8 pixels a side; kid, .* only 19 images in a set: give more images"):
        evaluate(path, path, quiet=True, device="cpu", features="pixels")
    scores = evaluate(run, count=12, quiet=True, device="cpu")
    assert list(scores.figures) == ["ms-ssim"]
    assert any("only 12 images in a set: raise --count" in note for note in scores.notes)


def test_gray_beside_colour_and_runs_beside_images(run: Run, tmp_path: Path) -> None:
    gray = digits()[0][:60, 0]
    saved(tmp_path / "gray.npy", gray)
    saved(tmp_path / "colour.npy", np.stack([gray] * 3, axis=-1))
    how: dict[str, Any] = {"quiet": True, "device": "cpu", "features": "pixels", "metrics": ("coverage", "precision")}
    scores = evaluate(tmp_path / "gray.npy", tmp_path / "colour.npy", **how)
    assert [figures["value"] for figures in scores.figures.values()] == [1, 1]
    copies = "both sets are the same images: these are the scores of copies"
    assert copies in scores.notes
    beside = evaluate(run, tmp_path / "colour.npy", count=60, **how)
    assert beside.protocol["shape"] == [1, 16, 16], "images are brought to the run's shape"
    turned = evaluate(tmp_path / "colour.npy", run, count=60, **how)
    assert turned.protocol["shape"] == [1, 16, 16]
    itself = evaluate(run, run, count=60, **how)
    assert 0 < value(itself, "coverage") < 1, "other samples of the same generator"
    assert not {copies} & {*itself.notes, *beside.notes}


def test_other_images_are_cropped_as_the_run_was(run: Run, tmp_path: Path) -> None:
    images = digits()[0][:60]
    large = saved(tmp_path / "large.npy", np.pad(images, ((0, 0), (0, 0), (8, 8), (8, 8))))
    how: dict[str, Any] = {"quiet": True, "device": "cpu", "features": "pixels", "metrics": ("coverage",), "count": 60}
    cropped = saved(tmp_path / "cropped.npy", images)
    expected = evaluate(run, cropped, **how).protocol["reference"]["identity"]
    assert evaluate(run, large, crop=32, **how).protocol["reference"]["identity"] == expected
    changes: dict[str, Any] = {"data": str(cropped), "crop": 32, "images": 16, "score_every": 0}
    run = train(run.config.with_changes(**changes), tmp_path / "run", quiet=True)
    assert evaluate(run, large, **how).protocol["reference"]["identity"] == expected
    assert evaluate(run, large, crop=0, **how).protocol["reference"]["identity"] != expected
    itself = evaluate(large, cropped, crop=32, **how)
    assert itself.protocol["shape"] == [1, 32, 32]
    assert value(itself, "coverage") == 1


def test_mistakes_are_refused(run: Run, tmp_path: Path) -> None:
    images = digits()[0]
    small = saved(tmp_path / "small.npy", images[:40, :, :20, :20])
    large = saved(tmp_path / "large.npy", images[:40])
    few = saved(tmp_path / "few.npy", images[:19])
    cases: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        ((large, small), {}, "32x32 with 1 channel and .*small.npy of 20x20 .*--resolution"),
        ((large, few), {"metrics": ("kid",)}, "kid needs 20 images or more, not 19"),
        ((large, large), {"metrics": ("kid", "fid")}, "fid needs 100 images or more, not 40"),
        ((large, large), {"metrics": ("fidd",)}, "there is no score 'fidd'"),
        ((large, large), {"metrics": ()}, "there is no score to compute"),
        ((large, large), {"features": "incepton"}, "there is no feature extractor 'incepton': did you mean inception"),
        ((large, large), {"features": "digits", "weights": tmp_path / "no.safetensors"}, "cannot read the weights"),
        ((large, large), {"metrics": ("memorisation",)}, "memorisation needs a run, scored by its held-out images"),
        ((large, large), {"metrics": ("reconstruction",)}, "reconstruction needs a run from latents alone"),
        ((large, large), {"metrics": ("modes",), "features": "pixels"}, "modes needs an extractor with classes"),
        ((large,), {}, "is not a run: give --reference"),
        ((large, tmp_path / "nowhere"), {}, "nowhere"),
        ((run,), {"resolution": 32}, "leave --resolution out"),
        ((run,), {"crop": 8}, "cropped as it has them: leave --crop out"),
        ((large, small), {"crop": 30}, r"none of the 40 images in .*small.npy .*20x20, too small to crop 30x30"),
        ((run,), {"count": 0}, "count: .*greater than or equal to 1, not 0"),
        ((run,), {"draws": 0}, "draws: .*greater than or equal to 1, not 0"),
        ((large, large), {"suspects": tmp_path / "s.png"}, "--suspects needs a run, scored by its held-out images"),
        ((run,), {"suspects": tmp_path / "s.txt"}, "cannot write a picture as 's.txt'"),
        ((run,), {"suspects": tmp_path}, "cannot write a picture|is no file"),
        ((run, small), {"metrics": ("memorisation",)}, "memorisation needs a run, scored by its held-out images"),
    ]
    for words, how, message in cases:
        with pytest.raises(UsageError, match=message):
            evaluate(*words, quiet=True, device="cpu", **{"features": "pixels"} | how)


def test_kid_while_training_and_the_best_checkpoint(run: Run) -> None:
    rows = [row for row in run.rows() if "kid" in row]
    assert [row["images"] for row in rows] == [80, 160, 240]
    board = EventAccumulator(str(run.path)).Reload()
    logged = {event.step: event.value for event in board.Scalars("kid")}
    assert logged == {row["images"]: pytest.approx(row["kid"], rel=1e-6) for row in rows}
    best = min(rows, key=lambda row: row["kid"])
    file = run.best_checkpoint()
    assert file is not None
    assert file.name == f"best-{best['images']:012d}.safetensors"
    assert run.load_checkpoint(best=True)[1]["images"] == best["images"]
    scores = evaluate(run, best=True, quiet=True, device="cpu", count=40, draws=1, metrics=("kid",))
    assert f"best, {best['images']} images seen" in scores.subject["name"]
    assert value(scores, "kid") == pytest.approx(best["kid"], rel=1e-4), "the same latents and the same held-out images"


def test_the_best_checkpoint_survives_a_kill_at_any_instant(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "copy"
    shutil.copytree(run.path, path)
    copy = Run.open(path)
    best = copy.best_checkpoint()
    assert best is not None
    newest = copy.checkpoints()[-1]
    rows = copy.rows()
    for row in rows:  # the newest is to be the best, and the process died after scoring, before it kept that
        if "kid" in row and row["images"] == int(newest.stem):
            row["kid"] = -1.0
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    best.unlink()
    resume(path, images=256, quiet=True)
    found = copy.best_checkpoint()
    assert found is not None
    assert found.stem == f"best-{newest.stem}"


def test_too_few_images_to_score_by_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    saved(tmp_path / "few.npy", digits()[0][:100])
    config = TrainConfig(
        network=Autoencoder(width=4, latent=8), data=str(tmp_path / "few.npy"), score_every=100, device="cpu"
    )
    with pytest.raises(
        UsageError, match=r"images to score by, and kid needs 20: use --score-every 0, or hold out more"
    ):
        train(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_path_that_is_called_like_bundled_data_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "others"):
        Path(name).mkdir()
        for number, image in enumerate(np.random.default_rng(len(name)).integers(0, 256, (20, 8, 8), np.uint8)):
            Image.fromarray(image).save(f"{name}/{number}.png")
    scores = evaluate("others", Path("digits"), features="pixels", metrics="kid", quiet=True)
    assert scores.protocol["reference"]["count"] == 20
