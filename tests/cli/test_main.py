"""The command as a person uses it: real files, real mistakes, and where the process is the point, real processes."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import cast, get_type_hints

import numpy as np
import pytest
import yaml
from PIL import Image

from command import Command
from equipoise import PRESETS, Run, cli
from equipoise.cli.flags import plain_dataclass
from equipoise.cli.main import COMMANDS, main

TINY = [
    *["--width", "4", "--latent", "8", "--resolution", "16", "--images", "160", "--batch", "16"],
    *["--log-every", "32", "--device", "cpu", "--quiet"],
]


def pictures(folder: Path, count: int = 24) -> Path:
    """Images of mixed sizes, modes and depths of folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        home = folder / str(number % 3)
        home.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (20 + number, 30, 4), dtype=np.uint8)
        mode = ["RGB", "RGBA", "L", "P"][number % 4]
        Image.fromarray(pixels, "RGBA").convert(mode).save(home / f"{number}.png")
    return folder


def refused(done: "subprocess.CompletedProcess[str]", words: str) -> None:
    """Exit code 2, and one sentence without a traceback that says `words`."""
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    message = " ".join(done.stderr.split())
    assert re.search(words, message), message


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that the tests of this file copy, so that it is trained once."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        assert main(["train", "began", *TINY, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize("usage", COMMANDS)
def test_every_command_is_in_the_general_help_and_has_its_own(within: Command, usage: str) -> None:
    assert re.search(rf"^  {re.escape(usage)} +{re.escape(COMMANDS[usage])}$", within().stdout, flags=re.M)
    name = [word for word in usage.split() if word.islower()]
    done = within(*name, "--help")
    assert done.returncode == 0, done
    assert f"usage: equipoise {' '.join(name)}" in done.stdout


def test_every_file_with_a_command_is_in_the_table() -> None:
    files = {path.stem for path in Path(cli.__file__).parent.glob("*.py")} - {"__init__", "main", "flags"}
    assert files == {usage.split()[0] for usage in COMMANDS}


def test_help_explains_itself(within: Command) -> None:
    for words in ([], ["--help"], ["train"], ["train", "--help"], ["train", "began", "--help"], ["resume", "--help"]):
        done = within(*words)
        assert done.returncode == 0, done
        assert "equipoise" in done.stdout
    assert "equipoise train began --data digits" in within().stdout
    assert "--gamma" in within("train", "began", "--help").stdout
    assert re.fullmatch(r"equipoise \d+\.\d+\.\d+\n", within("--version").stdout)


def test_every_setting_has_its_help() -> None:
    def texts(kind: type) -> Iterator[tuple[str, str]]:
        for name, hint in get_type_hints(kind, include_extras=True).items():
            if is_dataclass(hint):
                yield from texts(cast(type, hint))
            else:
                yield name, str(hint.__metadata__[-1].help)

    for presets in PRESETS.values():
        known = dict(texts(type(plain_dataclass(presets["default"]))))
        assert {"data", "crop", "images", "latent"} <= {*known}
        assert [name for name, text in known.items() if len(text) < 10] == []


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("cli", ["torch", "numpy", "tyro", "pydantic"]),
        ("training", ["lightning_fabric", "torchmetrics", "scipy", "matplotlib", "webdataset"]),
    ],
)
def test_nothing_is_imported_before_it_is_needed(module: str, unneeded: list[str]) -> None:
    """Each of these takes a tenth of a second to seconds, of which help and a first step need none."""
    code = f"import sys, equipoise.{module}; print(sorted({set(unneeded)} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_train_says_where_everything_lies(equipoise: Command, within: Command, tmp_path: Path) -> None:
    """In a real process; a second run finds the next free folder."""
    done = equipoise("train", "began", *TINY)
    assert done.returncode == 0, done.stderr
    for line in ("run:", "samples:", "curves:", "report:"):
        path = re.search(rf"{line} +(\S+)", done.stdout)
        assert path is not None
        assert (tmp_path / path[1]).exists()
    assert (tmp_path / "runs" / "began-digits-16-001").is_dir()
    assert within("train", "began", *TINY).returncode == 0
    assert (tmp_path / "runs" / "began-digits-16-002").is_dir()


def test_the_command_that_is_told_works_whatever_the_folder_is_called(within: Command) -> None:
    done = within("train", "began", *TINY, "--out=-a b's")
    (told,) = (line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("more:"))
    _, *words = shlex.split(told)
    assert within(*words).returncode == 0


def test_flags_win_over_a_configuration_and_a_configuration_makes_its_run_again(
    within: Command, run: Path, tmp_path: Path
) -> None:
    again = within("train", "--config", run / "config.yaml", "--out", "again", "--quiet")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again" / "metrics.jsonl").read_text() == (run / "metrics.jsonl").read_text()
    other = within("train", "began", "--config", run / "config.yaml", "--gamma", "0.3", "--out", "other", "--quiet")
    assert other.returncode == 0, other.stderr
    config = yaml.safe_load((tmp_path / "other" / "config.yaml").read_text())
    assert config["objective"]["gamma"] == 0.3
    assert config["network"]["width"] == 4


def test_resume_and_resume_if_exists(within: Command, run: Path) -> None:
    done = within("resume", run, "--images", "192", "--quiet")
    assert done.returncode == 0, done.stderr
    assert Run.open(run).rows()[-1]["images"] == 192
    same = within("train", "--config", run / "config.yaml", "--out", run, "--resume-if-exists")
    assert same.returncode == 0, same.stderr
    words = ["train", "--config", run / "config.yaml", "--lr", "0.1", "--out", run, "--resume-if-exists"]
    refused(within(*words), "was made with another lr .*choose another --out")


def test_sample_as_grid_array_and_folder(within: Command, run: Path, tmp_path: Path) -> None:
    assert within("sample", run, "--count", "9", "--out", "grid.png").returncode == 0
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.mode == "L"
    for name in ("a.npz", "b.npz"):
        assert within("sample", run, "--count", "70", "--out", name).returncode == 0
    first, second = (np.load(tmp_path / name)["images"] for name in ("a.npz", "b.npz"))
    assert first.shape == (70, 1, 16, 16)
    assert first.dtype == np.uint8
    assert (first == second).all()
    assert within("sample", run, "--count", "3", "--seed", "0", "--out", "pngs").returncode == 0
    files = sorted((tmp_path / "pngs").iterdir())
    assert len(files) == 3
    for file, expected in zip(files, first, strict=False):
        with Image.open(file) as image:
            assert (np.asarray(image) == expected[0]).all(), "fewer samples are the first of more"
    assert within("sample", run, "--count", "3", "--seed", "1", "--out", "c.npz").returncode == 0
    assert not (np.load(tmp_path / "c.npz")["images"] == first[:3]).all()
    refused(within("sample", run, "--out", "pngs"), "not empty: choose another --out")
    refused(within("sample", run, "--out", "a.pdf"), "cannot write samples as 'a.pdf'")


@pytest.mark.parametrize("kind", ["folder", "zip", "npz", "npy"])
def test_anybodys_images_train(within: Command, tmp_path: Path, kind: str) -> None:
    folder = pictures(tmp_path / "pictures")
    (folder / "broken.png").write_bytes(b"not an image")
    data = {"folder": "pictures", "zip": "a.zip", "npz": "a.npz", "npy": "a.npy"}[kind]
    array = np.random.default_rng(0).integers(0, 256, (24, 20, 20, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=array)
    np.save(tmp_path / "a.npy", array)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    how = ["--preset", "default", *TINY, "--data", data, "--images", "32"]  # of which there are too few to choose for
    done = within("train", "began", *how, "--out", "run")
    assert done.returncode == 0, done.stderr
    if kind in {"folder", "zip"}:
        events = Run.open(tmp_path / "run").rows("events.jsonl")
        assert any("1 images cannot be read and were skipped: broken.png" in event["message"] for event in events)
    with Image.open(Run.open(tmp_path / "run").samples()[-1]) as grid:
        assert grid.mode == "RGB"
    gray = within("train", "began", *how, "--channels", "1", "--out", "gray")
    assert gray.returncode == 0, gray.stderr


def test_labels_partition_and_crop_of_celeba(within: Command, tmp_path: Path) -> None:
    names = [f"{number:06d}.jpg" for number in range(1, 41)]
    random = np.random.default_rng(0)
    with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
        for name in names:
            with archive.open(f"img_align_celeba/{name}", "w") as file:
                Image.fromarray(random.integers(0, 256, (218, 178, 3), dtype=np.uint8)).save(file, "JPEG")
        archive.writestr("img_align_celeba/readme.txt", "no image")
    rows = [f"{name} {1 if number % 3 else -1} -1" for number, name in enumerate(names)]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(["40", "Smiling Young", *rows]))
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(f"{name} {n // 20}" for n, name in enumerate(names)))
    how = ["--data", "img_align_celeba.zip", "--crop", "108", "--label", "Smiling", "--classify-d", "1"]
    for share, held_out in (("auto", "20, as the data has it"), ("0.5", "at a share of 0.5")):
        done = within("data", "inspect", "img_align_celeba.zip", *how[2:6], "--held-out", share)
        assert f"{held_out}\n" in done.stdout
        assert "  classes   2 (not Smiling 14, Smiling 26)\n" in done.stdout
    for share in ("0.9", "2", "own", "nan"):
        refused(within("data", "inspect", "img_align_celeba.zip", "--held-out", share), "from 0 to 0.5, or auto, not")
    done = within("train", "gan", "--preset", "default", *TINY[2:], "--width", "4", *how, "--out", "run")
    assert done.returncode == 0, done
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["crop"], config["label"], config["held_out"]) == (108, "Smiling", "auto")
    events = (tmp_path / "run" / "events.jsonl").read_text()
    assert "left out: 1 file of no known kind of image: 1 .txt (such as img_align_celeba/readme.txt)" in events
    assert "of classes" not in events
    done = within("evaluate", "run", "--features", "pixels", "--metrics", "coverage", "--count", "20")
    assert done.returncode == 0, done
    assert within("sample", "run", "--label", "1", "--count", "2").returncode == 0
    refused(within("sample", "run", "--label", "2"), "classes 0 to 1")
    refused(
        within("train", "gan", *TINY, *how[:4], "--label", "Smilin"),
        r"no labels called 'Smilin' \(did you mean 'Smiling'\?\)",
    )
    refused(within("train", "gan", *TINY, *how[:2], "--crop", "179"), "178x218, too small to crop 179x179 pixels of it")
    refused(within("train", "gan", *TINY, *how[:2], "--held-out", "0.7"), "should be a share from 0 to 0.5, or auto")
    assert not (tmp_path / "runs").exists()


def test_inspect(within: Command, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "pictures")
    (folder / "broken.png").write_bytes(b"not an image")
    done = within("data", "inspect", folder, "--out", "sheet.png")
    assert done.returncode == 0, done.stderr
    assert "24 of 25 images can be read" in done.stdout
    assert re.search(r"sizes +30x20 to 30x43, median 30x3\d", done.stdout)
    assert re.search(r"channels +3 \(.*RGB 6", done.stdout)
    assert re.search(r"skipped +broken.png: ", done.stdout)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert min(sheet.size) > 100


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["began", "--data", "nowhere"], "nowhere"),
        (["began", "--data", "empty"], "no images|empty"),
        (["began", "--data", "texts"], "no images"),
        (["began", "--data", "corrupt"], "none of the 2 images .* can be read"),
        (["began", "--resolution", "218x178"], "divide by 32, .* not 218x178: try --resolution 192"),
        (["began", "--resolution", "7"], "divide by 2, .* not 7x7: try --resolution 8"),
        (["began", "--gamma", "0"], "gamma: input should be greater than 0, not 0"),
        (["began", "--gamma", "2.5"], "gamma: input should be less than or equal to 2, not 2.5"),
        (["began", "--batch", "6000"], "only 4486 images, the held-out ones aside: use --batch 4486 or less"),
        (["began", "--batch", "0"], "batch: input should be greater than or equal to 1"),
        (["gan", "--data", "ring8", "--generator-norm", "batch", "--batch", "1"], "batch normalisation needs 2 images"),
        (["gan", "--data", "ring8", "--rotate-d", "1"], "--rotate-d is for images, and ring8 has points: leave it out"),
        (["began", "--images", "1e99"], "not a number such as 300000, 300k or 1.5M"),
        (["began", "--device", "tpu"], "tpu"),
        (["began", "--device", "cuda"], "no usable cuda device: use --device auto or --device cpu"),
        (["began", "--out", "taken"], "already holds a run: go on with `equipoise resume taken`, or choose another"),
        (["began", "--out", "texts"], "exists and is not empty: choose another --out"),
        (["began", "--out", "texts/a.txt/run"], "cannot make a run at texts/a.txt/run"),
        (["began", "--config", "nowhere.yaml"], "cannot read the configuration nowhere.yaml"),
        (["began", "--config", "misspelled.yaml"], r"unknown key 'gama' in objective began \(did you mean 'gamma'\?\)"),
        (["began", "--config"], "--config needs a value"),
        (["began", "--preset", "papr"], r"unknown preset 'papr' \(did you mean 'paper'\?\)"),
        (["began", "--preset", "paper", "--config", "misspelled.yaml"], "use one of them"),
        (["began", "--gama", "0.5"], "--gamma"),
        (["began", "--resume-if-exists"], "needs --out"),
        (["--nope"], "name an objective, or give --config"),
        (["begn"], r"unknown objective 'begn' \(did you mean 'began'\?\)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_sentence_and_leave_nothing(
    within: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    for name in ("empty", "texts", "corrupt", "taken"):
        (tmp_path / name).mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    (tmp_path / "taken" / "config.yaml").write_text("data: digits\n")
    for name in ("a.png", "b.jpg"):
        (tmp_path / "corrupt" / name).write_bytes(b"\x89PNG nothing")
    (tmp_path / "misspelled.yaml").write_text("objective: {name: began, gama: 0.3}\n")
    before = sorted(tmp_path.rglob("*"))
    refused(within("train", *words), message)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_mistake_in_a_real_process(equipoise: Command, tmp_path: Path) -> None:
    refused(equipoise("train", "began", "--data", "nowhere"), "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["resume", "nowhere"], "nowhere is not a run"),
        (["sample", "nowhere"], "nowhere is not a run"),
        (["data", "inspect", "nowhere"], "nowhere"),
        (["trian"], r"unknown command 'trian' \(did you mean 'train'\?\)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_commands_refuse_as_clearly(within: Command, words: list[str], message: str) -> None:
    refused(within(*words), message)


def test_a_run_without_a_readable_checkpoint_is_refused(within: Command, run: Path) -> None:
    for checkpoint in Run.open(run).checkpoints():
        checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    refused(within("sample", run), "no checkpoint that can be read")
    refused(within("resume", run), "no checkpoint that can be read")


def test_metrics_are_plain_json_lines(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"energy_real", "energy_fake", "k", "m_global", "lr"} <= rows[1].keys()
