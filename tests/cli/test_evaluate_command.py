"""equipoise evaluate and compare as a person uses them."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command import Command


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Three sets of 24 images: a folder of 16 x 16, an array of 16 x 16, an array of 20 x 20."""
    draws = np.random.default_rng(0)
    (tmp_path / "made").mkdir()
    for number, pixels in enumerate(draws.integers(0, 256, (24, 16, 16), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "made" / f"{number}.png")
    np.save(tmp_path / "real.npy", draws.integers(0, 256, (24, 16, 16), dtype=np.uint8))
    np.save(tmp_path / "large.npy", draws.integers(0, 256, (24, 20, 20), dtype=np.uint8))
    return tmp_path


PIXELS = ("--features", "pixels", "--metrics", "kid, precision", "--quiet", "--device", "cpu")


def test_images_beside_images_and_scores_side_by_side(within: Command, sets: Path) -> None:
    done = within("evaluate", "--images", "made", "--reference", "real.npy", *PIXELS, "--json", "a.json")
    assert done.returncode == 0, done.stderr
    assert re.search(r"made: 24 images beside 24 of real.npy", done.stdout)
    assert "scores: a.json" in done.stdout
    found = json.loads((sets / "a.json").read_text())
    assert set(found) == {"kid", "precision", "details", "subject", "protocol", "notes"}
    assert found["protocol"]["features"]["name"] == "pixels"
    more = within("evaluate", "real.npy", "--reference", "real.npy", *PIXELS, "--json", "b.json")
    assert more.returncode == 0, more.stderr
    table = within("compare", "a.json", "b.json")
    assert table.returncode == 0, table.stderr
    assert re.search(r"precision +\S+ +1\*", table.stdout)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a run's folder, or --images and --reference"),
        (["made", "--images", "made"], "give a run's folder, or --images and --reference"),
        (["nowhere"], "nowhere is not a run: give --reference"),
        (["made"], "made is not a run: give --reference"),
        (["--images", "made", "--reference", "nowhere"], "nowhere"),
        (["--images", "made", "--reference", "large.npy"], "16x16 with 1 channel and large.npy of 20x20"),
        (["--images", "made", "--reference", "real.npy", "--metrics", "fid"], "fid needs 100 images or more, not 24"),
        (["--images", "made", "--reference", "real.npy", "--metrics", "kidd"], "there is no score 'kidd'"),
        (["--images", "made", "--reference", "real.npy", "--metrics", ","], "there is no score to compute"),
        (["--images", "made", "--reference", "real.npy", "--features", "dinov3"], "did you mean dinov2-vit"),
        (
            ["--images", "made", "--reference", "real.npy", "--metrics", "kid", "--count", "10"],
            "needs 20 images or more, not 10",
        ),
        (["--images", "made", "--reference", "real.npy", "--split", "new"], "--split"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_sentence(within: Command, sets: Path, words: list[str], message: str) -> None:
    features = [] if "--features" in words else ["--features", "pixels"]
    done = within("evaluate", *words, *features, "--json", "scores.json", "--device", "cpu", "--quiet")
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert re.search(message, " ".join(done.stderr.split())), done.stderr
    assert not (sets / "scores.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.json"], "cannot read a.json: No such file"),
        (["made", "made"], "cannot read made: Is a directory"),
        (["real.npy", "real.npy"], "real.npy holds no scores"),
        ([], "two or more files of scores"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_compare_refuses_what_are_no_scores(within: Command, sets: Path, words: list[str], message: str) -> None:
    done = within("compare", *words)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert re.search(message, " ".join(done.stderr.split())), done.stderr


def test_unlike_protocols_are_refused(within: Command, sets: Path) -> None:
    for seed in ("0", "1"):
        words = ("--images", "made", "--reference", "real.npy", *PIXELS, "--seed", seed)
        assert within("evaluate", *words, "--json", f"{seed}.json").returncode == 0
    done = within("compare", "0.json", "1.json")
    assert done.returncode == 2
    assert "0.json and 1.json cannot be compared, they differ in seed (0 and 1)" in done.stderr
