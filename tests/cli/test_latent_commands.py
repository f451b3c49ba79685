"""The commands that look around in a run's latents: what they write, and every mistake told in a sentence."""

import csv
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from command import Command
from equipoise import Run, UsageError, interpolate, invert, outliers, reconstruct, sample, traverse
from equipoise.config.datasets import open_dataset

RUNS = Path(__file__).parents[1] / "old_runs"
QUICK = ("--steps", 4, "--starts", 1, "--device", "cpu", "--quiet")


@pytest.fixture(autouse=True)
def runs(tmp_path: Path) -> None:
    """Runs of 16x16 digits: an autoencoder's of uniform latents, and one of classes; discrete images; a toy."""
    for name in ("began", "classes", "discrete", "toy"):
        shutil.copytree(RUNS / name, tmp_path / name, ignore=shutil.ignore_patterns("expected"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight digits as files, and one that is no image."""
    folder = tmp_path / "photos"
    folder.mkdir()
    run = Run.open(tmp_path / "began")
    for number, pixels in enumerate(open_dataset(run.config, place=run.place).split("train").batch(range(8)).numpy()):
        Image.fromarray(pixels[0]).save(folder / f"{number}.png")
    return folder


def test_interpolating_pictures(within: Command, photos: Path, tmp_path: Path) -> None:
    ends = ["photos/0.png", "photos/1.png", "photos/2.png"]
    done = within("interpolate", "began", *ends, "--frames", 5, "--out", "strip.png", *QUICK)
    assert done.returncode == 0, done.stderr
    assert re.search(r"photos/1\.png: residue 0\.\d+ \(one step by the encoder: 0\.\d+\)", done.stdout)
    assert "linear" in done.stdout, "its latents are uniform"
    strip = np.asarray(Image.open(tmp_path / "strip.png").convert("L"))
    across, down = 7 * 64 + 6 * 2, 4 * 64 + 3 * 2  # real, five frames, real; two ways of two rows each
    body = strip[-down:, -across:]
    real = np.asarray(Image.open(photos / "1.png")).repeat(4, axis=0).repeat(4, axis=1)
    for row in (0, 1):  # where the first way ends, and below it that by one step
        assert np.array_equal(body[row * 66 :][:64, -64:], real)
    assert not np.array_equal(body[:64, 66:130], body[66:130, 66:130]), "one step and what was searched"
    pixels = np.asarray(Image.open(photos / "1.png"))
    result = interpolate(Run.open(tmp_path / "began"), ends, frames=5, steps=4, starts=1, device="cpu")
    assert result.frames.shape == (2, 5, 1, 16, 16)
    assert np.array_equal(result.inversion.originals[1, 0], pixels)  # type: ignore[union-attr]
    assert np.array_equal(result.frames[0, -1], result.frames[1, 0])
    assert result.film.shape == (9, 1, 16, 16)
    encoded = interpolate(Run.open(tmp_path / "began"), ends, frames=5, fast=True, device="cpu")
    assert np.array_equal(result.one_step, encoded.frames)
    assert encoded.one_step is None


@pytest.mark.parametrize("kind", ["gif", "webp"])
def test_films_of_drawn_latents(within: Command, tmp_path: Path, kind: str) -> None:
    words = ("--random", 3, "--frames", 4, "--loop", "--out", f"film.{kind}")
    assert within("interpolate", "classes", *words, "--label", 2).returncode == 0
    with Image.open(tmp_path / f"film.{kind}") as film:
        assert film.info["loop"] == 0
        assert film.n_frames in {8, 9}  # GIF leaves out a frame that is the same as the one before
        assert max(film.size) == 256


def test_inverting_a_folder_goes_on_where_it_stopped(within: Command, photos: Path, tmp_path: Path) -> None:
    (photos / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    words = ("invert", "began", "photos", "--batch", 3, *QUICK)
    done = within(*words)
    assert done.returncode == 0, done.stderr
    assert "8 pictures" in done.stdout
    assert "bad.png" in done.stdout
    found = np.load(tmp_path / "inverted/latents.npz")
    assert found["latents"].shape == (8, 3)
    assert np.abs(found["latents"]).max() <= 1
    report = json.loads((tmp_path / "inverted/residues.json").read_text())
    assert [row["name"] for row in report["pictures"]] == [f"photos/{number}.png" for number in range(8)]
    assert report["mean_residue"] == pytest.approx(found["residues"].mean())
    assert len(list((tmp_path / "inverted/pages").iterdir())) == 3
    again = within(*words)
    assert again.returncode == 0
    assert len(list((tmp_path / "inverted/pages").iterdir())) == 3, "all was there already"
    Image.new("L", (16, 16), 90).save(photos / "0.png")  # another picture of the same name
    Image.new("L", (16, 16), 30).save(photos / "new.png")
    assert "10 pictures" in within(*words).stdout
    for changed in (("--starts", 2), ("--no-ema",)):
        refused = within(*words, *changed)
        assert refused.returncode == 2, changed
        assert "choose another --out" in refused.stderr
    drawn = within("sample", "began", "--latents", "inverted/latents.npz", "--out", "again.npz")
    assert drawn.returncode == 0, drawn.stderr
    assert np.load(tmp_path / "again.npz")["images"].shape == (10, 1, 16, 16)


def test_what_is_done_is_kept_at_ctrl_c(photos: Path, tmp_path: Path, within: Command) -> None:
    words = [
        "invert",
        "began",
        "photos",
        "--batch",
        "1",
        "--steps",
        "300",
        "--starts",
        "1",
        "--device",
        "cpu",
        "--quiet",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", *words],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "inverted/pages/00001.png").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "same command" in stderr
    assert "Traceback" not in stderr
    kept = np.load(tmp_path / "inverted/latents.npz")
    assert 1 <= len(kept["names"]) < 8
    assert within(*words).returncode == 0
    whole = np.load(tmp_path / "inverted/latents.npz")
    assert sorted(whole["names"]) == [f"photos/{number}.png" for number in range(8)]
    np.testing.assert_array_equal(whole["latents"][: len(kept["names"])], kept["latents"])


def test_pages_without_latents_are_begun_anew(photos: Path, tmp_path: Path, within: Command) -> None:
    """As a kill in the first seconds leaves them."""
    (tmp_path / "inverted/pages").mkdir(parents=True)
    for page in range(3):
        (tmp_path / f"inverted/pages/{page:05d}.png").touch()
    done = within("invert", "began", "photos", "--batch", 3, *QUICK)
    assert done.returncode == 0, done.stderr
    assert all(page.stat().st_size for page in (tmp_path / "inverted/pages").iterdir())


def test_an_inversion_that_was_killed_as_it_first_wrote_is_begun_anew(
    photos: Path, tmp_path: Path, within: Command
) -> None:
    (tmp_path / "inverted").mkdir()
    (tmp_path / "inverted/.latents.npz.0123abcd.tmp").touch()
    done = within("invert", "began", "photos", *QUICK)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "inverted/latents.npz").is_file()


def test_a_full_disk_ends_an_inversion_in_a_sentence(photos: Path, tmp_path: Path) -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-m", "equipoise", "invert", "began", "photos", *map(str, QUICK)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        preexec_fn=no_room,
    )
    assert done.returncode == 2, done
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert [file for file in (tmp_path / "inverted").rglob("*") if file.is_file()] == []


def test_reconstructing(within: Command, photos: Path, tmp_path: Path) -> None:
    done = within("reconstruct", "began", "photos/0.png", "photos/1.png", "--out", "sheet.png", "--device", "cpu")
    assert done.returncode == 0, done.stderr
    assert "photos/0.png: energy" in done.stdout
    assert Image.open(tmp_path / "sheet.png").mode == "RGB"
    result = reconstruct(Run.open(tmp_path / "began"), ["photos"], device="cpu")
    assert result.energy_maps.shape == (8, 16, 16)
    np.testing.assert_allclose(result.energy_maps.mean(dim=(1, 2)).numpy(), result.energies, rtol=1e-5)
    scores = outliers(Run.open(tmp_path / "began"), ["photos"], device="cpu")
    assert sorted(scores.scores) == pytest.approx(sorted(result.energies), rel=1e-4), "D's own energies"


@pytest.mark.parametrize("run", ["began", "classes"])
def test_outliers_writes_a_table_and_a_sheet(within: Command, photos: Path, tmp_path: Path, run: str) -> None:
    for copy in ("copy-a", "copy-b"):
        shutil.copy(photos / "3.png", photos / f"{copy}.png")
    (photos / "cut.png").write_bytes((photos / "4.png").read_bytes()[:80])
    done = within("outliers", run, "--data", "photos", "--shown", 4, "--device", "cpu", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "there 3 times" in done.stdout
    rows = list(csv.DictReader((tmp_path / "outliers.csv").open()))
    assert rows[0]["name"] == "photos/cut.png"
    assert rows[0]["because_of"].startswith("unreadable")
    ranked = rows[1:]
    oddness = [float(row["oddness"]) for row in ranked]
    assert oddness == sorted(oddness, reverse=True)
    assert {row["name"]: row["copies"] for row in ranked}["photos/copy-a.png"] == "3"
    assert Image.open(tmp_path / "outliers.png").width > 300


def test_outliers_of_a_run_whose_data_are_gone(within: Command, photos: Path, tmp_path: Path) -> None:
    config = (tmp_path / "began/config.yaml").read_text()
    (tmp_path / "began/config.yaml").write_text(config.replace("data: digits", "data: gone"))
    refused = within("outliers", "began", "--device", "cpu")
    assert (refused.returncode, "gone" in refused.stderr) == (2, True)
    result = outliers(Run.open(tmp_path / "began"), ["photos"], device="cpu")
    assert len(result.names) == 8


def test_latents_by_hand(within: Command, tmp_path: Path) -> None:
    run = Run.open(tmp_path / "began")
    plain, edited = sample(run, 70), sample(run, 70, values={1: 0.7})
    assert not np.array_equal(plain, edited)
    z = np.random.default_rng(0).uniform(-1, 1, (5, 3)).astype(np.float32)
    np.savez(tmp_path / "z.npz", latents=z)
    (tmp_path / "z.csv").write_text("a,b,c\n" + "\n".join(",".join(map(repr, row)) for row in z.tolist()))
    for name in ("z.npz", "z.csv"):
        assert within("sample", "began", "--latents", name, "--out", f"{name}.out.npz").returncode == 0
        made = np.load(tmp_path / f"{name}.out.npz")["images"]
        assert np.array_equal(made, sample(run, latents=z))
    with_set = within("sample", "began", "--set", "1=0.7", "--count", 70, "--out", "set.npz")
    assert with_set.returncode == 0, with_set.stderr
    assert np.array_equal(np.load(tmp_path / "set.npz")["images"], edited)
    classes = Run.open(tmp_path / "classes")
    assert np.array_equal(sample(classes, 9, truncate=0), sample(classes, 1, truncate=0, label=0)) is False
    middle = sample(classes, 3, truncate=0, label=4)
    assert (middle == middle[:1]).all(), "at 0 nothing but the mean latent is left"


def test_latents_with_labels(within: Command, tmp_path: Path) -> None:
    run = Run.open(tmp_path / "classes")
    z = np.random.default_rng(0).standard_normal((4, run.config.network.latent)).astype(np.float32)
    labels = np.array([7, 1, 0, 2])
    np.savez(tmp_path / "z.npz", latents=z, labels=labels)
    done = within("sample", "classes", "--latents", "z.npz", "--count", 3, "--out", "few.npz")
    assert done.returncode == 0, done.stderr
    few = sample(run, latents=z[:3], labels=torch.from_numpy(labels[:3]))
    assert np.array_equal(np.load(tmp_path / "few.npz")["images"], few)
    rows = traverse(run, [0], latents=z, labels=torch.from_numpy(labels), frames=3, device="cpu")
    for number, label in enumerate(labels.tolist()):
        alone = traverse(run, [0], latents=z[number : number + 1], label=label, frames=3, device="cpu")
        assert np.array_equal(rows.images[number], alone.images[0])
    moving = ("--traverse", "0", "--frames", 3, "--out", "rows.png")
    assert within("sample", "classes", "--latents", "z.npz", *moving).returncode == 0
    refused = within("sample", "classes", "--latents", "z.npz", "--count", 9, *moving)
    assert (refused.returncode, "4 latents given, not 9" in refused.stderr) == (2, True)
    small = torch.from_numpy(labels).to(torch.uint8)
    assert torch.equal(sample(run, latents=z, labels=small)[:3], few)
    assert torch.equal(traverse(run, [0], latents=z, labels=small, frames=3, device="cpu").images, rows.images)
    with pytest.raises(UsageError, match=r"labels are whole numbers \(4,\), one a latent, not torch.float32 \(4,\)"):
        traverse(run, [0], latents=z, labels=torch.zeros(4), device="cpu")
    with pytest.raises(UsageError, match=r"labels are whole numbers \(4,\), one a latent, not torch.int64 \(3,\)"):
        traverse(run, [0], latents=z, labels=torch.zeros(3, dtype=torch.int64), device="cpu")
    with pytest.raises(UsageError, match="labels are whole numbers"):
        sample(run, 3, labels=torch.ones(3, dtype=torch.bool))


def test_traversals_directions_and_grids_of_classes(within: Command, tmp_path: Path) -> None:
    words = ("--traverse", "0,2", "--direction", "0,3:7", "--frames", 5, "--out", "rows.png")
    done = within("sample", "began", *words)
    assert done.returncode == 0, done.stderr
    assert "4 rows of 5 images" in done.stdout
    result = traverse(Run.open(tmp_path / "began"), [0, 2], along=[0, (3, 7)], frames=5, device="cpu")
    assert result.names == ["z[0]", "z[2]", "jacobian 0", "class 3 to 7"]
    np.testing.assert_allclose(result.latents[0, :, 0], result.steps)
    np.testing.assert_array_equal(result.latents[0, :, 1], result.latents[0, :1, 1].expand(5))
    data = traverse(Run.open(tmp_path / "classes"), along=[0], kind="data", frames=3, device="cpu", label=1)
    assert data.images.shape == (1, 3, 1, 16, 16)
    assert within("sample", "classes", "--class-grid", "--count", 3, "--out", "classes.npz").returncode == 0
    grid = np.load(tmp_path / "classes.npz")["images"]
    assert grid.shape == (10, 3, 1, 16, 16)
    assert np.array_equal(grid[4], sample(Run.open(tmp_path / "classes"), 3, label=4))
    assert within("sample", "classes", "--class-grid", "--out", "classes.png").returncode == 0


def test_checkpoints_by_images_seen(within: Command, tmp_path: Path) -> None:
    there = [int(file.stem) for file in (tmp_path / "began/checkpoints").iterdir()]
    assert within("sample", "began", "--at", there[0], "--no-ema", "--out", "at.png").returncode == 0
    refused = within("sample", "began", "--at", "1M")
    assert refused.returncode == 2
    assert f"{there[0]}" in refused.stderr


LATENTS = ("--latents", "z.npz")
REFUSED = {
    "a toy is inverted": (("invert", "toy", "photos"), "toy"),
    "a toy is interpolated": (("interpolate", "toy", "--random", 3), "toy"),
    "a toy is reconstructed": (("reconstruct", "toy", "photos"), "toy"),
    "a toy has outliers": (("outliers", "toy"), "toy"),
    "a toy is traversed": (("sample", "toy", "--traverse", "0"), "toy"),
    "no run": (("invert", "photos", "photos/0.png"), "not a run"),
    "no picture": (("invert", "began", "missing.png"), "missing.png"),
    "an empty folder": (("invert", "began", "empty"), "is empty"),
    "no image": (("invert", "began", "photos/text.png"), "cannot read"),
    "one picture alone": (("interpolate", "began", "photos/0.png", *QUICK), "other end"),
    "neither pictures nor drawn latents": (("interpolate", "began"), "--random 8"),
    "both": (("interpolate", "began", "photos", "--random", 3), "not both"),
    "one frame": (("interpolate", "began", "--random", 3, "--frames", 1), "frames"),
    "a film of another kind": (("interpolate", "began", "--random", 3, "--out", "film.avi"), "avi"),
    "no encoder": (("invert", "classes", "photos", "--fast"), "no autoencoder"),
    "no autoencoder": (("reconstruct", "classes", "photos"), "equipoise invert"),
    "a class out of range": (("invert", "classes", "photos", "--label", 10), "classes 0 to 9"),
    "a class of none": (("interpolate", "began", "--random", 3, "--label", 1), "no class"),
    "a grid of no classes": (("sample", "began", "--class-grid"), "no class"),
    "a folder that is not empty": (("invert", "began", "photos", "--out", "photos"), "not empty"),
    "a picture to write over": (
        ("interpolate", "began", "photos/0.png", "photos/1.png", "--out", "photos/0.png"),
        "is among what is given",
    ),
    "in the folder": (("reconstruct", "began", "photos", "--out", "photos/0.png"), "is among what is given"),
    "another": (("reconstruct", "began", "photos/0.png", "--out", "./photos/0.png"), "is among what is given"),
    "an image with a hole": (("inpaint", "began", "photos/0.png", "--out", "photos/0.png"), "among what is given"),
    "a place below a file, before the search": (
        ("interpolate", "began", "photos/0.png", "photos/1.png", "--steps", "99M", "--out", "photos/2.png/film.gif"),
        "is no folder",
    ),
    "a film of another kind, before the search": (
        ("interpolate", "began", "photos/0.png", "photos/1.png", "--steps", "99M", "--out", "film.avi"),
        "use .gif, .webp, .mp4, .png",
    ),
    "more than one can wait for, into a full folder": (
        ("sample", "began", "--count", "99M", "--out", "photos"),
        "photos is not empty",
    ),
    "samples of another kind": (("sample", "began", "--count", "99M", "--out", "a.tiff"), "a folder's name"),
    "points in a folder": (("sample", "toy", "--out", "points"), "cannot write samples as 'points'"),
    "energies in a folder": (("reconstruct", "began", "photos/0.png", "--out", "sheets"), "use .png"),
    "a device": (("sample", "began", "--out", "/dev/full"), "/dev/full is there and is no file"),
    "a row on a device": (("sample", "began", "--traverse", 0, "--out", "/dev/full"), "is no file"),
    "an inversion on a device": (("invert", "began", "photos", "--out", "/dev/full"), "Not a directory"),
    "an export on a device": (("export", "began", "--out", "/dev/full"), "not an empty folder"),
    "latents to write over": (("sample", "began", *LATENTS, "--out", "./z.npz"), "among what is given"),
    "a damaged inversion": (("invert", "began", "photos", "--out", "cut"), "remove cut to begin anew"),
    "an inversion that is none": (("invert", "began", "photos", "--out", "other"), "remove other to begin anew"),
    "a table below a file": (("outliers", "began", "--csv", "photos/0.png/a.csv"), "is no folder"),
    "a table and a sheet in one": (("outliers", "began", "--csv", "a.png", "--sheet", "a.png"), "two files at once"),
    "two checkpoints": (("sample", "began", "--at", 64, "--best"), "leave one of them out"),
    "a sheet in the data": (("data", "inspect", "photos", "--out", "photos/0.png"), "is among what is given"),
    "a sheet of another kind, before the data": (
        ("data", "inspect", "gone", "--duplicates", "pairs.tif"),
        "cannot write a picture as 'pairs.tif'",
    ),
    "a new sheet in the data": (("data", "inspect", "photos", "--out", "photos/new.png"), "among the images of photos"),
    "a new sheet among pictures": (
        ("outliers", "began", "--data", "photos", "--sheet", "./photos/deep/sheet.jpg"),
        "among the images of photos",
    ),
    "a table over a run's settings": (("outliers", "began", "--csv", "began/config.yaml"), "is a file of a run"),
    "a sheet over a picture": (
        ("outliers", "began", "--data", "photos", "--sheet", "photos/0.png"),
        "is among what is given",
    ),
    "scores over a run's measures": (("evaluate", "began", "--json", "began/metrics.jsonl"), "is a file of a run"),
    "scores over a picture": (
        ("evaluate", "began", "--reference", "photos", "--json", "photos/0.png"),
        "is among what is given",
    ),
    "suspects over a picture": (
        ("evaluate", "began", "--reference", "photos", "--suspects", "photos/0.png"),
        "is among what is given",
    ),
    "figures over a run's settings": (("bench", "--json", "began/config.yaml"), "is a file of a run"),
    "a pack over its own images": (
        ("data", "pack", "photos", "--resolution", 16, "--out", "photos/0.png"),
        "is among what is given",
    ),
    "reasons over a picture": (("suggest", "photos", "--json", "photos/0.png"), "is among what is given"),
    "two sheets in one": (("data", "inspect", "photos", "--out", "a.png", "--duplicates", "./a.png"), "at once"),
    "scores and suspects in one": (("evaluate", "began", "--json", "a.png", "--suspects", "a.png"), "at once"),
    "absurd steps": (("invert", "began", "photos", "--steps", "1000M"), "steps"),
    "an absurd rate": (("invert", "began", "photos", "--lr", "nan"), "lr"),
    "latents of another length": (("sample", "classes", *LATENTS), "4"),
    "latents that are not finite": (("sample", "began", "--latents", "nan.csv"), "value 1 of latent 0"),
    "latents of several lengths": (("sample", "began", "--latents", "ragged.csv"), "at row 2; mend it"),
    "latents of another kind": (("sample", "began", "--latents", "z.txt"), ".npz"),
    "no latents in a file": (("sample", "began", "--latents", "other.npz"), "no array"),
    "a damaged file": (("sample", "began", "--latents", "broken.npz"), "damaged"),
    "a missing file": (("sample", "began", "--latents", "gone.npz"), "gone.npz"),
    "more than there are": (("sample", "began", *LATENTS, "--count", 9), "lower the count"),
    "truncated uniform latents": (("sample", "began", "--truncate", 0.7), "uniform"),
    "a dimension that is not there": (("sample", "began", "--traverse", "0,3"), "0 to 2"),
    "a direction that is not there": (("sample", "began", "--direction", "7"), "0 to 2"),
    "a class without images": (("sample", "began", "--direction", "3:70"), "classes 0 to 9"),
    "a value that is none": (("sample", "began", "--set", "a=1"), "3=0.7"),
    "no reach": (("sample", "began", "--traverse", "0", "--reach", 0), "reach"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_mistakes_are_told_in_a_sentence(within: Command, photos: Path, tmp_path: Path, what: str) -> None:
    np.savez(tmp_path / "z.npz", latents=np.zeros((2, 3)))
    np.savez(tmp_path / "other.npz", images=np.zeros((2, 3)))
    (tmp_path / "broken.npz").write_bytes((tmp_path / "z.npz").read_bytes()[:50])
    (tmp_path / "nan.csv").write_text("1,nan,3\n")
    (tmp_path / "ragged.csv").write_text("1,2,3\n1,2\n")
    (tmp_path / "z.txt").write_text("1")
    (photos / "text.png").write_text("no image")
    (tmp_path / "empty").mkdir()
    for name in ("broken", "other"):
        folder = tmp_path / name.replace("broken", "cut")
        folder.mkdir()
        shutil.copy(tmp_path / f"{name}.npz", folder / "latents.npz")
    before = sorted(tmp_path.rglob("*"))
    words, said = REFUSED[what]
    refused = within(*words)
    assert refused.returncode == 2, refused
    assert "Traceback" not in refused.stderr
    assert said in " ".join(refused.stderr.split()), refused.stderr
    assert sorted(tmp_path.rglob("*")) == before, "nothing is left behind"


def test_without_ffmpeg_no_search_is_begun(
    within: Command, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused = within("interpolate", "began", "photos/0.png", "photos/1.png", "--steps", "99M", "--out", "film.mp4")
    assert refused.returncode == 2
    assert "needs ffmpeg" in refused.stderr


def test_arrays_of_another_shape_are_refused(tmp_path: Path) -> None:
    run = Run.open(tmp_path / "began")
    for bad in (np.zeros((2, 3, 16, 16), np.uint8), np.zeros((2, 1, 16, 16)), np.zeros((0, 1, 16, 16), np.uint8)):
        with pytest.raises(ValueError, match="uint8"):
            invert(run, bad, device="cpu")


def test_a_picture_of_another_shape_and_mode_is_brought_to_the_runs(within: Command, tmp_path: Path) -> None:
    Image.new("RGBA", (90, 40), (200, 30, 30, 128)).save(tmp_path / "wide.png")
    done = within("invert", "began", "wide.png", *QUICK)
    assert done.returncode == 0, done.stderr
