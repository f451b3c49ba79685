"""Real studies of real processes: side by side, killed at any instant, gone on with, refused."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from command import Command
from equipoise.cli.study import Plan, asked_study
from equipoise.errors import UsageError
from equipoise.runs.lock import sole_writer
from equipoise.runs.run import Run
from equipoise.studies.figures import NOTHING
from equipoise.studies.lengths import read_lengths
from equipoise.studies.plan import Search, Study, read_study
from equipoise.studies.report import write_report
from equipoise.studies.study import checked_configs, scoring_of
from equipoise.studies.trials import all_trials, arm_config, read_outcome, read_progress, trial_config
from equipoise.studies.worker import run_trial
from equipoise.views.captions import LINE

TINY = {"resolution": 16, "width": 4, "log-every": 64, "precision": "fp32"}
WORDS = ["--budget", "640", "--set", *(f"{name}={value}" for name, value in TINY.items()), "--count", "40"]
BAD = ["--objectives", "began", *WORDS, "--seeds", "2", "--out", "s"]


def start(folder: Path, *words: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "equipoise", "study", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, **pipes)  # type: ignore[call-overload,no-any-return]


def wait_for(what: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.05)


def workers(folder: Path) -> list[int]:
    """Processes that work on trials of the study in `folder`, by the log that they hold open."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, log = (process / "cmdline").read_text(), (process / "fd/1").readlink()
        except OSError:
            continue
        if "equipoise.studies.worker" in command and str(folder) in str(log):
            found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two arms and two seeds, whose trials were trained in this process, one after another."""
    folder = tmp_path_factory.mktemp("study") / "s"
    plan = Study.from_dict({"arms": {"began": {}, "gan": {}}, "budget": 640, "seeds": 2, "settings": TINY, "count": 40})
    configs = checked_configs(plan)
    for trial in all_trials(plan, configs, read_lengths(plan, folder)):
        assert run_trial(folder / trial.name, trial.config, scoring_of(plan, trial.config)) == 0
    (folder / "study.yaml").write_text(plan.to_yaml())
    write_report(folder)
    return folder


@pytest.fixture
def studied(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, as tests write into theirs, and come in any order."""
    return Path(shutil.copytree(trained, tmp_path / "studied"))


def test_every_trial_is_a_run_with_its_outcome_beside_it(studied: Path) -> None:
    folders = sorted(studied.glob("trials/*/*/seed-?"))
    assert [str(folder.relative_to(studied)) for folder in folders] == [
        f"trials/{arm}/digits/seed-{seed}" for arm in ("began", "gan") for seed in (0, 1)
    ]
    for folder in folders:
        outcome = read_outcome(folder)
        assert outcome is not None
        assert outcome.state == "finished"
        seeds = {Run.open(folder).config.seed, outcome.protocol["seed"]}
        assert len(seeds) == 2, "the best checkpoint was chosen by latents of the run's own seed"
        assert Run.open(folder).rows()[-1]["images"] == 640
        assert {"kid", "precision", "recall", "coverage"} == outcome.final.keys() == outcome.best.keys()
        assert outcome.deviation["kid"] > 0
        assert outcome.protocol["count"] == 40
        assert outcome.cost.cpu_seconds > 0
        assert outcome.cost.memory > 2**20
        assert outcome.cost.seconds_per_image


def test_whatever_is_killed_goes_on_at_its_last_checkpoint(tmp_path: Path) -> None:
    """A trial's process, the study by Ctrl-C, and the study without a warning, one after another."""
    words = ["--objectives", "gan", *WORDS, "--budget", "32000", "--seeds", "1", "--out", "s"]
    seed = tmp_path / "s/trials/gan/digits/seed-0"

    def images() -> int:
        return max((int(path.stem) for path in seed.glob("checkpoints/0*")), default=0)

    study = start(tmp_path, *words)
    wait_for(lambda: images() > 0)
    (first,) = workers(tmp_path)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: workers(tmp_path) not in ([], [first]))
    wait_for(lambda: read_progress(seed).attempts == 2)
    reached = images()
    wait_for(lambda: images() > reached)
    study.send_signal(signal.SIGINT)
    _, errors = study.communicate(timeout=60)
    assert study.returncode == 130
    assert "0 of 1 trials done" in errors
    assert "equipoise study s" in errors
    assert not workers(tmp_path)
    reached = images()

    study = start(tmp_path, "s")
    wait_for(lambda: images() > reached)
    study.kill()
    study.communicate()
    wait_for(lambda: not workers(tmp_path))  # which end with the study, each with a checkpoint
    assert images() > reached

    study = start(tmp_path, "s")
    _, errors = study.communicate(timeout=240)
    assert study.returncode == 0, errors
    lines = [line for line in errors.splitlines() if "trials done" in line]
    assert [line for line in lines if line.startswith("100%")] == lines[-1:], "not while it is scored"
    assert "1 of 1 trials done" in lines[-1]
    outcome = read_outcome(seed)
    assert outcome is not None
    assert (outcome.state, outcome.cost.attempts, images()) == ("finished", 4, 32000)
    resumed = [event["images"] for event in Run.open(seed).rows("events.jsonl") if event["kind"] == "resumed"]
    assert len(resumed) == 3
    assert resumed == sorted(resumed)
    assert resumed[0] > 0


def test_the_report_says_what_there_is(studied: Path) -> None:
    values = json.loads((studied / "report.json").read_text())
    assert [arm["arm"] for arm in values["arms"]] == ["began", "gan"]
    assert len(values["trials"]) == 4
    (pair,) = values["pairs"]
    assert not pair["significant"]  # which two seeds can never be
    assert pair["p_value"] in (pytest.approx(1 / 3), pytest.approx(2 / 3), 1.0)
    assert any("add seeds" in sentence for sentence in values["sentences"])
    rows = list(csv.DictReader((studied / "trials.csv").open()))
    assert {(row["arm"], row["seed"]) for row in rows} == {(arm, seed) for arm in ("began", "gan") for seed in "01"}
    page, text = (studied / "report.html").read_text(), (studied / "report.md").read_text()
    assert page.count("data:image/png;base64,") == 5
    assert "http://" not in page
    for said in ("is not shown to be better", "95 %", "equipoise train --config", "held-out", "| began | 2 of 2 |"):
        assert said in text
    for name in ("scores", "probability-of-improvement", "performance-profiles", "curves-0", "samples-0"):
        assert (studied / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"figures/{name}.png" in text


def test_the_report_says_by_what_its_runs_were_made(studied: Path, tmp_path: Path) -> None:
    """Not by what wrote the report, which may be later."""
    shutil.copytree(studied, tmp_path / "study")
    config = next((tmp_path / "study").glob("trials/*/*/*/config.yaml"))
    config.write_text(config.read_text().replace("  equipoise: ", "  equipoise: 0.0.9+"))
    write_report(tmp_path / "study")
    made_with = json.loads((tmp_path / "study" / "report.json").read_text())["made_with"]
    assert [each["torch"] for each in made_with] == [torch.__version__] * 2
    assert sum(each["equipoise"].startswith("0.0.9+") for each in made_with) == 1
    text = (tmp_path / "study" / "report.md").read_text()
    assert text.count("trained with equipoise ") == 2
    assert "trained with equipoise 0.0.9+" in text
    assert "data_path" not in text


def test_the_report_is_made_anew_without_what_was_deleted_of_runs(studied: Path, tmp_path: Path) -> None:
    """Of the first seed of one arm the checkpoints, and of the other arm all runs: outcomes lie beside them.

    Of that arm the sheet of samples says so, in a line instead of two rows of pictures.
    """
    folder = tmp_path / "study"
    shutil.copytree(studied, folder)
    shutil.rmtree(folder / "trials/began/digits/seed-0/checkpoints")
    for run in folder.glob("trials/gan/digits/seed-?"):
        shutil.rmtree(run)
    before = (studied / "figures/samples-0.png").read_bytes()
    write_report(folder)
    assert "| gan | 2 of 2 |" in (folder / "report.md").read_text()
    with Image.open(folder / "figures/samples-0.png") as grids, Image.open(BytesIO(before)) as whole:
        assert grids.height == whole.height // 2 + 2 * LINE + NOTHING.height


def test_the_report_is_made_anew_with_another_baseline(studied: Path, within: Command) -> None:
    done = within("study", "report", studied, "--baseline", "gan")
    assert done.returncode == 0
    assert [arm["arm"] for arm in json.loads((studied / "report.json").read_text())["arms"]] == ["gan", "began"]
    refused = within("study", "report", studied, "--baseline", "gaan")
    assert refused.returncode == 2
    assert "did you mean 'gan'" in refused.stderr


def test_going_on_with_what_is_done_trains_nothing_and_another_study_is_refused(studied: Path, within: Command) -> None:
    before = {path: path.stat().st_mtime_ns for path in studied.glob("trials/*/*/*/checkpoints/*")}
    assert within("study", studied, "--quiet").returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in studied.glob("trials/*/*/*/checkpoints/*")}
    other = within("study", "--objectives", "began", *WORDS, "--seeds", "2", "--out", studied)
    assert other.returncode == 2
    assert "another study" in other.stderr
    assert "arms.gan.objective is 'gan', here not set" in other.stderr
    budget = within("study", "--objectives", "began,gan", *WORDS, "--seeds", "2", "--out", studied, "--budget", "9k")
    assert "budget is" in budget.stderr
    assert "here 9000" in budget.stderr
    fewer = within("study", "--objectives", "began,gan", *WORDS, "--seeds", "1", "--out", studied)
    assert "has seed 1" in fewer.stderr
    assert "{" not in other.stderr + budget.stderr + fewer.stderr


def test_unlike_protocols_are_refused(studied: Path, within: Command) -> None:
    file = next(studied.glob("trials/gan/*/seed-1.json"))
    kept = file.read_text()
    try:
        values = json.loads(kept)
        values["protocol"]["count"] = 50
        file.write_text(json.dumps(values))
        refused = within("study", "report", studied)
        assert refused.returncode == 2
        assert "cannot be compared" in refused.stderr
        assert "count" in refused.stderr
    finally:
        file.write_text(kept)


def test_a_trial_that_fails_or_diverges_is_counted_and_not_fatal(tmp_path: Path, within: Command) -> None:
    (tmp_path / "study.yaml").write_text(
        "budget: 640\nseeds: 1\nsettings: {resolution: 16, width: 4, log-every: 64}\ncount: 40\ndraws: 1\n"
        "arms:\n  broken: gan\n"
        "  wild: {objective: began, preset: paper, settings: {lr: 1.0, clip_k: false, lambda_k: 1.0}}\n"
    )
    folder = tmp_path / "s"
    (folder / "trials/broken/digits/seed-0").mkdir(parents=True)
    (folder / "trials/broken/digits/seed-0/note.txt").write_text("something else of the user's")
    (folder / "study.yaml").write_text(within("study", "study.yaml", "--out", folder, "--dry-run").stdout)
    done = within("study", folder, "--quiet")
    assert done.returncode == 0, done.stderr
    wild, broken = (read_outcome(folder / f"trials/{arm}/digits/seed-0") for arm in ("wild", "broken"))
    assert wild is not None
    assert broken is not None
    assert wild.state == "diverged"
    assert wild.final["kid"] > 0  # of its last good checkpoint
    assert broken.state == "failed"
    assert "not empty" in broken.message
    text = (folder / "report.md").read_text()
    assert "1 diverged" in text
    assert "1 failed" in text
    assert "∞" in text
    assert "not empty" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--objectives", "begann,gan", *WORDS, "--out", "s"], "did you mean 'began'"),
        ([*BAD, "--baseline", "gan"], "no arm 'gan'"),
        ([*BAD, "--seeds", "0"], "seeds"),
        ([*BAD, "--budget", "32"], "shorter than one line of the log"),
        ([*BAD, "--budget", "10 minutes"], "10min"),
        ([*BAD, "--budget", "-5"], "budget"),
        ([*BAD, "--data", "missing/folder"], "missing/folder"),
        ([*BAD, "--data", "digits,digits"], "each once"),
        ([*BAD, "--set", "gama=0.5"], "did you mean 'gamma'"),
        ([*BAD, "--set", "gamma"], "NAME=VALUE"),
        ([*BAD, "--set", "gamma=0.5", "gamma=0.7"], "gamma twice"),
        ([*BAD, "--set", "seed=3"], "--seeds"),
        ([*BAD, "--vary", "images=1000,2000"], "--budget"),
        ([*BAD, "--set", "data=grid25"], "--data"),
        ([*BAD, "--set", "keep=9"], "alike for all trials"),
        ([*BAD, "--search", "4", "--of", "seed"], "--seeds"),
        ([*BAD, "--vary", "gamma=0.5,0.50"], "a value twice"),
        ([*BAD, "--vary", "lr=1e-3,0.001"], "a value twice"),
        ([*BAD, "--vary", f"n_critic=1,1{400 * '0'}"], "n-critic: "),
        ([*BAD, "--vary", "gamma=0.5,7"], "gamma"),
        ([*BAD, "--metric", "ms-ssim"], "--metric"),
        ([*BAD, "--metric", "cmmd"], "clip"),
        ([*BAD, "--metric", "fid"], "fid"),
        ([*BAD, "--data", "swissroll", "--metric", "modes"], "'modes'"),
        ([*BAD, "--search", "4", "--of", "n_critic", "--range", "n_critic=1.2:1.9"], "two whole numbers"),
        ([*BAD, "--search", "4", "--of", "lr", "--range", "lr=0.1:0.001"], "upside down"),
        (
            [*BAD, "--search", "4", "--of", "n_critic", "--range", "n_critic=1:inf"],
            "should be a finite number, not inf",
        ),
        ([*BAD, "--search", "4", "--of", "lr", "--range", "lr=a:b"], "LOW:HIGH"),
        ([*BAD, "--search", "4", "--of", "nonsense"], "nonsense"),
        ([*BAD, "--search", "4", "--of", "batch"], "--range batch"),
        ([*BAD, "--search", "4", "--of", "optimizer", "--range", "optimizer=1:2"], "no number"),
        ([*BAD, "--search", "4"], "--of"),
        ([*BAD, "--of", "lr"], "--search"),
        ([*BAD, "--ray", "127.0.0.1:1"], "no Ray cluster answers"),
        ([*BAD, "--ray", "nowhere"], "HOST:PORT"),
        (["missing.yaml", "--out", "s"], "cannot read"),
        (["--out", "s"], "--objectives"),
        (BAD[:-2], "--out"),
        (["report", "nothing"], "no study"),
    ],
)
def test_what_cannot_work_is_refused_in_one_sentence(
    words: list[str], said: str, within: Command, tmp_path: Path
) -> None:
    refused = within("study", *words)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()


def test_a_file_is_read_and_flags_override_it(tmp_path: Path, within: Command) -> None:
    (tmp_path / "study.yaml").write_text(
        "budget: 2min\nseeds: [3, 5]\narms: {began: , tuned: {objective: gan, settings: {lr: 0.001}}}\n"
    )
    done = within("study", "study.yaml", "--out", "s", "--budget", "100k", "--baseline", "tuned", "--dry-run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "again.yaml").write_text(done.stdout)
    again = read_study(tmp_path / "again.yaml")
    assert again.budget.images == 100_000
    assert again.seeds == (3, 5)
    assert again.baseline == "tuned"
    assert again.arms["tuned"].settings == {"lr": 1e-3}


def test_flags_of_a_search_override_those_of_the_file_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(
        "budget: 2k\narms: {gan: }\nsearch: {trials: 4, of: [lr], ranges: {lr: [1e-4, 1e-2]}, prune: false}\n"
    )
    shorter, random = asked_study(file, Plan(search=3)).search, asked_study(file, Plan(sampler="random")).search
    assert shorter == Search(trials=3, of=("lr",), ranges={"lr": (1e-4, 1e-2)}, prune=False)
    assert random == Search(trials=4, of=("lr",), ranges={"lr": (1e-4, 1e-2)}, prune=False, sampler="random")


@pytest.mark.parametrize("budget", [math.inf, math.nan, 1.5, 0.0])
def test_a_number_that_is_no_budget_is_refused(budget: float) -> None:
    with pytest.raises(UsageError, match="budget: should be images such as 200k, or time"):
        Study.from_dict({"arms": {"gan": {}}, "budget": budget})


@pytest.mark.parametrize("budget", ["200k", "90s", "300h", "100001.25s", "0.00005s"])
def test_a_budget_is_read_again_as_it_was(budget: str) -> None:
    plan = Study.from_dict({"arms": {"gan": {}}, "budget": budget, "metrics": []})
    again = Study.from_dict(yaml.safe_load(plan.to_yaml()))
    assert again == plan
    assert str(again.budget) == str(plan.budget)


@pytest.mark.parametrize("budget", [{}, {"images": 0}, {"seconds": -5}, {"images": 10, "seconds": 5}])
def test_a_budget_is_of_images_or_of_seconds(budget: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="budget: .*one of them, above 0"):
        Study.from_dict({"arms": {"gan": {}}, "budget": budget})


def test_too_many_combinations_are_refused_before_they_are_made() -> None:
    vary = {name: list(range(100)) for name in ("a", "b", "c", "d", "e")}
    with pytest.raises(UsageError, match="10,000,000,000 arms is refused"):
        Study.from_dict({"arms": {"gan": {}}, "budget": 640, "vary": vary})


@pytest.mark.long
def test_a_study_of_which_nothing_was_trained_can_be_mended(tmp_path: Path, within: Command) -> None:
    words = ["study", "--objectives", "gan", "--out", "s", "--quiet", "--seeds", "1", "--count", "40"]
    short = within(*words, "--budget", "0.001s", "--set", "resolution=16", "width=4")
    assert short.returncode == 2
    assert "raise --budget" in short.stderr
    done = within(*words, "--budget", "640", "--set", "resolution=16", "width=4", "log-every=64")
    assert done.returncode == 0, done.stderr
    refused = within(*words, "--budget", "1280", "--set", "resolution=16", "width=4", "log-every=64")
    assert (refused.returncode, "holds another study" in refused.stderr) == (2, True)


def test_a_study_that_is_being_written_is_left_alone(tmp_path: Path, within: Command) -> None:
    words = ["study", "--objectives", "gan", *WORDS, "--out", "s"]
    (tmp_path / "s").mkdir()
    with sole_writer(tmp_path / "s"):
        plan = within(*words, "--seeds", "2", "--dry-run").stdout
        (tmp_path / "s/study.yaml").write_text(plan)
        refused = within(*words, "--seeds", "4")
    assert refused.returncode == 2
    assert "is being written by" in refused.stderr
    assert (tmp_path / "s/study.yaml").read_text() == plan


def test_a_signal_is_heeded_while_speeds_are_measured(tmp_path: Path) -> None:
    process = start(
        tmp_path, "--objectives", "began,gan,wgan", "--budget", "10s", "--seeds", "1", "--out", "s", "--quiet"
    )
    wait_for(lambda: list(tmp_path.glob("s/trials/speed-0.log")))
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "stopped with 0 of 3 trials done" in told
    assert not workers(tmp_path)
    assert not list(tmp_path.glob("s/trials/speed-1.log"))


def test_an_interrupt_ends_the_packing_of_data_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one photograph by thousands of names, which takes a minute or more."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "photos").mkdir()
    Image.effect_noise((1000, 1000), 99).save(tmp_path / "first.jpg")
    for number in range(6000):
        os.link(tmp_path / "first.jpg", tmp_path / "photos" / f"{number}.jpg")
    process = start(tmp_path, "--objectives", "gan", "--data", "photos", *WORDS, "--seeds", "1", "--out", "s")
    wait_for(lambda: list((tmp_path / "cache").rglob("*")))
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "stopped at once" in told
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("budget: 1k\narms: {began: {objectiv: gan}}", "did you mean 'objective'"),
        ("budget: 1k\narms: [began]", "mapping"),
        ("arms: {began: }", "budget"),
        ("budget: 1k\narms: {began: }\nseeds: []", "seeds"),
        ("budget: 1k\narms: {a b: began, a-b: gan}", "share a folder"),
        ('budget: 1k\narms: {"": began, data: gan}', "'' and 'data' would share a folder"),
        ("- 1", "mapping"),
        ("budget: 1k\narms: {began: }\nvary: {gamma: []}", "arm"),
    ],
)
def test_a_file_that_is_no_study_is_refused(text: str, said: str, tmp_path: Path, within: Command) -> None:
    (tmp_path / "study.yaml").write_text(text)
    refused = within("study", "study.yaml", "--out", "s", "--dry-run")
    assert refused.returncode == 2
    assert said in refused.stderr


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[2] / "examples").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_example_is_a_study(file: Path) -> None:
    plan = read_study(file)
    for arm in plan.expanded.values():
        config = arm_config(plan, arm, plan.data[0])
        assert config.objective_name == arm.objective
        assert trial_config(plan, config, plan.budget.images or 100_000, seed=1).seed == 1
