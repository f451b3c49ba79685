"""Proposals, what is given up, and what is found, of files as trials leave them."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from equipoise.config.changes import flat
from equipoise.config.presets import PRESETS
from equipoise.errors import UsageError
from equipoise.studies.found import Found
from equipoise.studies.groups import Group
from equipoise.studies.pages import _sections
from equipoise.studies.plan import Study
from equipoise.studies.report import write_report
from equipoise.studies.results import Results
from equipoise.studies.search import Searches
from equipoise.studies.trials import Cell, Outcome, arm_config, write_outcome

optuna = pytest.importorskip("optuna")

LENGTH, EVERY = 6400, 640


def plan(trials: int = 12, **search: object) -> Study:
    values = {"trials": trials, "of": ["lr", "gamma"], **search}
    settings = {"resolution": 16, "width": 4, "boundary": "batch"}
    return Study.from_dict(
        {"arms": {"began": {}}, "budget": LENGTH, "seeds": 2, "settings": settings, "search": values}
    )


def searches(folder: Path, study: Study) -> Searches:
    cell = Cell("began", "digits")
    return Searches(
        study, folder, {cell: arm_config(study, study.arms["began"], "digits")}, {"began": {"digits": LENGTH}}
    )


def log(folder: Path, name: str, kids: dict[int, float], event: str = "") -> None:
    """What a trial logs as it trains."""
    run = folder / name
    run.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"images": images, "kid": kid, "kid_spread": 0.0}) for images, kid in kids.items()]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    if event:
        row = {"images": 1, "level": "warning", "kind": event, "message": ""}
        (run / "events.jsonl").write_text(json.dumps(row) + "\n")


def finish(folder: Path, group: Group, kid: float) -> None:
    for trial in group.trials:
        log(folder, trial.name, dict.fromkeys(range(EVERY, LENGTH + 1, EVERY), kid))
        write_outcome(folder / trial.name, Outcome(state="finished", final={"kid": kid}, best={"kid": kid}))


def finished_search(folder: Path, kids: Sequence[float]) -> Searches:
    """A search whose groups have these KIDs."""
    source = searches(folder, plan(trials=len(kids)))
    while source.next():
        pass
    for group, kid in zip(source.searches[0].groups, kids, strict=True):
        finish(folder, group, kid)
    return source


def test_the_arms_own_settings_and_the_published_ones_come_first_and_all_seeds_of_each(tmp_path: Path) -> None:
    source = searches(tmp_path, plan())
    trials = [source.next() for _ in range(6)]
    assert [trial and (trial.arm, trial.seed) for trial in trials] == [
        (f"began 00{number}", seed) for number in range(3) for seed in (0, 1)
    ]
    own, published = (flat(PRESETS["began"][name].to_dict()) for name in ("default", "published"))
    for index, expected in ((0, own), (2, published)):
        trial = trials[index]
        assert trial is not None
        found = flat(trial.config.to_dict())
        assert (found["lr"], found["objective.gamma"]) == (expected["lr"], expected["objective.gamma"])
        assert found["test"] == 0.1
        assert found["images"] == LENGTH
    other = trials[4]
    assert other is not None
    assert 1e-5 <= other.config.lr <= 1e-2


def test_a_search_proposes_near_what_was_good_and_ends(tmp_path: Path) -> None:
    """On a score that is the distance from a learning rate of 1e-3, in powers of ten."""
    source = searches(tmp_path, plan(trials=40, of=["lr"]))
    (search,) = source.searches
    while source.next():
        for group in search.groups:
            if not group.done(tmp_path):
                finish(tmp_path, group, abs(math.log10(group.settings["lr"]) + 3))
                source.watch([])
    assert len(search.groups) == 40
    best, _ = search.ranked()[0]
    assert best < 0.1
    late = [abs(math.log10(group.settings["lr"]) + 3) for group in search.groups[25:]]
    assert sorted(late)[len(late) // 2] < 0.5  # of evenly drawn ones it would be 0.75
    assert source.next() is None


def test_a_group_is_given_up_for_collapse_and_for_kid_at_equal_images(tmp_path: Path) -> None:
    source = searches(tmp_path, plan())
    (search,) = source.searches
    for number in range(6):
        source.next()
        source.next()
        finish(tmp_path, search.groups[number], 0.1 + number / 100)
        assert source.watch([]) == {}
    source.next()
    group = search.groups[6]
    running = list(group.trials)
    log(tmp_path, group.trials[0].name, {EVERY: 0.9})
    assert source.watch(running) == {}  # a tenth of the length is too early
    log(tmp_path, group.trials[0].name, {EVERY * n: 0.9 for n in range(1, 6)})
    source.waiting.clear()
    given_up = source.watch(running)
    assert given_up.keys() == {trial.name for trial in running}
    assert "above the median" in given_up[running[0].name]
    for trial in running:
        write_outcome(tmp_path / trial.name, Outcome(state="stopped", message="why"))
    source.next()
    group = search.groups[7]
    log(tmp_path, group.trials[0].name, {EVERY: 0.1}, event="collapse")
    assert "seed 0 has collapsed" in source.watch(group.trials[:1])[group.trials[0].name]
    waiting = group.trials[1]
    assert (tmp_path / f"{waiting.name}.json").exists()  # which never begins
    assert source.next() not in group.trials


def test_the_arms_own_settings_are_never_given_up(tmp_path: Path) -> None:
    source = searches(tmp_path, plan())
    trial = source.next()
    assert trial is not None
    log(tmp_path, trial.name, {EVERY: 0.1}, event="collapse")
    assert source.watch([trial]) == {}


def test_a_search_goes_on_where_it_was(tmp_path: Path) -> None:
    study = plan(trials=5)
    before = searches(tmp_path, study)
    for number in range(3):
        before.next()
        before.next()
        if number < 2:
            finish(tmp_path, before.searches[0].groups[number], 0.1)
    after = searches(tmp_path, study)
    unfinished = [after.next(), after.next()]
    assert unfinished == before.searches[0].groups[2].trials
    rest = [after.next() for _ in range(5)]
    assert [trial and trial.arm for trial in rest] == ["began 003", "began 003", "began 004", "began 004", None]
    assert after.searches[0].groups[3].settings != before.searches[0].groups[2].settings


def test_the_best_by_held_out_images_is_shown_beside_the_arms_own_by_test_images(tmp_path: Path) -> None:
    source = finished_search(tmp_path, (0.3, 0.2, 0.1, 0.25))
    (search,) = source.searches
    write_outcome(tmp_path / search.groups[3].trials[0].name, Outcome(state="diverged"))
    found = Found(source.searches)
    assert [(trial.arm, trial.name) for trial in found.finalists()] == [
        ("began, as it was", search.groups[0].trials[0].name),
        ("began, as it was", search.groups[0].trials[1].name),
        ("began, best found", search.groups[2].trials[0].name),
        ("began, best found", search.groups[2].trials[1].name),
    ]
    tried, best = found.lines()
    assert "4 of 4 settings" in tried
    assert "1 of them" in tried
    assert "best is 0.1" in best
    values = found.values()["began on digits"]
    assert values["best_of"][-1] == pytest.approx(0.1)
    assert values["best_of"][0] == pytest.approx((0.3 + 0.2 + 0.1 + 0.3) / 4)  # what diverged counts as the worst
    pictures = found.pictures()
    assert {"search", "settings"} == pictures.keys()
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())


def test_the_arms_own_settings_are_shown_once_where_they_are_the_best(tmp_path: Path) -> None:
    source = finished_search(tmp_path, (0.1, 0.2, 0.3, 0.25))
    found = Found(source.searches)
    assert [trial.arm for trial in found.finalists()] == ["began, as it was"] * 2
    assert found.lines()[1].endswith("these are its own settings")


def test_a_report_leaves_what_has_failed_and_counts_it(tmp_path: Path) -> None:
    """Only who goes on with the search tries it again, and then deletes its outcome."""
    trial = finished_search(tmp_path, (0.3, 0.2, 0.1, 0.25)).searches[0].groups[3].trials[0]
    write_outcome(tmp_path / trial.name, Outcome(state="failed", message="no space left"))
    (tmp_path / "study.yaml").write_text(plan(trials=4).to_yaml())
    write_report(tmp_path)  # of runs of which there are outcomes and lines alone, and no samples
    assert (tmp_path / f"{trial.name}.json").exists()
    assert "4 of 4 settings tried by tpe, 1 of them given up" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("baseline", ["began", "began, as it was", "began, best found"])
def test_the_arm_to_beat_is_of_those_that_a_search_reports(tmp_path: Path, baseline: str) -> None:
    finished_search(tmp_path, (0.3, 0.2, 0.1, 0.25))
    (tmp_path / "study.yaml").write_text(plan(trials=4).to_yaml())
    write_report(tmp_path, baseline)
    first, _ = (arm["arm"] for arm in json.loads((tmp_path / "report.json").read_text())["arms"])
    assert first == ("began, as it was" if baseline == "began" else baseline)
    with pytest.raises(UsageError, match=r"no arm 'began, best'.*: use one of began, as it was; began, best found$"):
        write_report(tmp_path, "began, best")


def test_what_is_best_on_one_data_set_alone_is_reported_beside_the_arms_own_on_the_other(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    better, worse = finished_search(tmp_path / "a", (0.3, 0.2)), finished_search(tmp_path / "b", (0.2, 0.3))
    worse.searches[0].cell = Cell("began", "faces")
    found = Found([*better.searches, *worse.searches]).finalists()
    assert [trial.arm for trial in found] == [*["began, as it was"] * 2, *["began, best found"] * 2] * 2
    assert found[4].name == found[6].name


def test_a_whole_number_stays_one(tmp_path: Path) -> None:
    source = searches(tmp_path, plan(trials=6, of=["n_critic", "width"], ranges={"width": [2, 8]}))
    while source.next():
        pass
    for group in source.searches[0].groups[2:]:
        assert all(isinstance(value, int) for value in group.settings.values())
        assert 2 <= group.settings["network.width"] <= 8


def test_what_has_failed_is_tried_again_when_the_search_goes_on(tmp_path: Path) -> None:
    source = finished_search(tmp_path, (0.3, 0.2, 0.1, 0.25))
    first, second = source.searches[0].groups[2].trials
    write_outcome(tmp_path / first.name, Outcome(state="failed", message="no space left"))
    write_outcome(tmp_path / second.name, Outcome(state="stopped", message="seed 0 has failed"))
    again = searches(tmp_path, plan(trials=4))
    assert [trial.name for trial in (again.next(), again.next()) if trial] == [first.name, second.name]
    assert again.next() is None


def test_a_setting_that_is_0_is_searched_from_there(tmp_path: Path) -> None:
    source = searches(tmp_path, plan(trials=4, of=["lr_decay"], ranges={"lr_decay": [1e-3, 1.0]}))
    while source.next():
        pass
    assert source.searches[0].groups[0].settings == {"lr_decay": 0.0}
    assert len(source.searches[0].groups) == 4


def test_searches_of_several_arms_and_data_sets_are_told_apart(tmp_path: Path) -> None:
    source = finished_search(tmp_path, (0.1, 0.2, 0.3, 0.25))
    found = Found(source.searches * 4)
    pictures = found.pictures()
    assert {"search", *(f"settings-{number}" for number in range(4))} == pictures.keys()
    study = plan(trials=4)
    object.__setattr__(study, "data", ("digits", "faces"))
    headings = [heading for heading, _ in _sections(Results(tmp_path, study, "kid", [], {}), pictures)]
    assert headings == ["What the search found", *["Settings that were tried"] * 4]
