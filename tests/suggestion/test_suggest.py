"""Suggestions for real images on this machine: what is given stays, and a run is what its configuration says."""

import json
import random
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

import equipoise
from command import Command
from equipoise import PRESETS, Run, Suggestion, TrainConfig, UsageError
from equipoise.bench.steps import equipoise_step
from equipoise.config.changes import flat, with_settings
from equipoise.objectives import OBJECTIVES, Tasks
from equipoise.suggestion.rules import Choice
from equipoise.suggestion.speed import images_per_second, seconds_per_score
from equipoise.suggestion.suggest import fill_in, is_chosen_for, open_settings
from equipoise.training.state import TrainState
from suggestion.test_facts import drawing, folder, photograph

SMALL = ["--images", "128", "--width", "4", "--batch", "16", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty photographs, 40 wide and 32 high."""
    return folder(tmp_path_factory.mktemp("data") / "my photos", [photograph(n, 40, 32) for n in range(60)])


@pytest.fixture(scope="module")
def suggestion(photos: Path) -> Suggestion:
    return equipoise.suggest(photos, width=4, batch=16, device="cpu")


def test_what_is_not_given_is_chosen_with_a_reason(suggestion: Suggestion, photos: Path) -> None:
    config = suggestion.config
    assert (config.data, config.resolution, config.flip) == (str(photos), 32, False)
    values = flat(config.to_dict())
    assert (values["objective.gamma"], values["network.width"], config.batch) == (0.85, 4, 16)
    networks = {"network.wavelet", "network.width_ratio", "network.latent"}
    chosen = {"resolution", "objective.gamma", *networks, "lr", "flip", "augment", "images"}
    assert {*suggestion.reasons} == chosen
    assert [values[choice.setting] for choice in suggestion.choices] == [choice.value for choice in suggestion.choices]
    assert suggestion.seconds == config.images / suggestion.images_per_second > 0
    text = str(suggestion)
    assert "60 images in colour, 40x32 in the median" in text
    assert "gamma" in text
    assert "0.85" in text
    assert "on this machine" in text.splitlines()[-1]
    assert any("gamma 0.85: photographs" in sentence for sentence in suggestion.sentences)
    plain = json.loads(json.dumps(suggestion.to_dict()))
    assert plain["command"] == suggestion.command
    dashed = replace(suggestion, config=config.with_changes(data="-photos"))
    assert "--data=-photos" in dashed.command.split()  # else it would be taken for a flag
    assert TrainConfig.from_dict(plain["config"]) == config


def test_every_other_setting_is_the_default(suggestion: Suggestion) -> None:
    default = PRESETS["began"]["default"].with_changes(data=suggestion.config.data, batch=16, device="cpu")
    chosen = {choice.setting: choice.value for choice in suggestion.choices}
    assert suggestion.config == with_settings(default, {**chosen, "network.width": 4})


@pytest.mark.parametrize("given", [{"resolution": 16, "gamma": 0.3, "latent": 8, "flip": True}, {"images": 64}])
def test_what_is_given_wins(photos: Path, given: dict[str, Any]) -> None:
    suggestion = equipoise.suggest(photos, width=4, batch=16, device="cpu", **given)
    values = {path.rpartition(".")[2]: value for path, value in flat(suggestion.config.to_dict()).items()}
    assert {name: values[name] for name in given} == given
    assert not given.keys() & {choice.name for choice in suggestion.choices}


def test_other_objectives_and_networks_have_fewer_settings_to_choose() -> None:
    began, gan = PRESETS["began"]["default"], PRESETS["gan"]["default"]
    assert {"objective.gamma", "network.width", "resolution", "flip", "images"} <= {*open_settings(began, set())}
    assert {*open_settings(gan, set())} == {*open_settings(began, set())} - {
        "objective.gamma",
        "network.wavelet",
        "network.width",
        "network.width_ratio",
        "network.latent",
        "lr",
    }
    assert open_settings(PRESETS["began"]["paper"], {"objective"}) == open_settings(gan, set())
    ebgan = open_settings(PRESETS["ebgan"]["default"], set())
    assert "network.width" in ebgan
    assert "augment" in ebgan
    assert "augment" not in open_settings(PRESETS["bgan-discrete"]["default"], set()), "which it refuses"
    filling_in = gan.with_changes(tasks=Tasks(inpaint=0.999, adversarial=0.001))
    assert "augment" not in open_settings(filling_in, set())
    assert not {"network.wavelet", "network.width_ratio", "lr"} & {*ebgan}, (
        "its margin is of the pixels' energies, and its rate its own"
    )


def test_a_short_time_is_told_in_seconds(suggestion: Suggestion) -> None:
    assert "about 6 seconds on" in str(replace(suggestion, images_per_second=suggestion.config.images / 6))
    assert "about 1 minute on" in str(replace(suggestion, images_per_second=suggestion.config.images / 61))


def test_minutes_are_a_length(photos: Path) -> None:
    long = equipoise.suggest(photos, minutes=10_000, width=4, batch=16, device="cpu")
    short = equipoise.suggest(photos, minutes=0.001, width=4, batch=16, device="cpu")
    assert short.config.images < long.config.images
    assert "images" in short.reasons


def test_what_cannot_be_suggested_is_refused(photos: Path) -> None:
    for settings, words in (
        ({"minutes": 0}, "minutes must be a number above 0"),
        ({"minutes": float("nan")}, "minutes must be a number above 0"),
        ({"minutes": 1, "images": 100}, "leave one of them out"),
        ({"objective": "begn"}, "did you mean 'began'"),
        ({"gama": 1}, "unknown setting 'gama' .*did you mean 'gamma'"),
        ({"width": 4096, "resolution": 32}, "GiB to train"),
    ):
        with pytest.raises(UsageError, match=words):
            equipoise.suggest(photos, device="cpu", **settings)
    with pytest.raises(UsageError, match="is a toy"):
        equipoise.suggest("grid25")
    with pytest.raises(UsageError, match="there is no file"):
        equipoise.suggest("nowhere")


@pytest.mark.parametrize(
    ("network", "gamma", "wavelet"),
    [("dcgan-autoencoder", 0.85, 2), ("autoencoder", 1.0, 0), ("compare-gan", 1.0, None)],
)
def test_drawings_in_colour_have_a_low_gamma_where_their_energy_is_by_wavelet(
    tmp_path: Path, network: str, gamma: float, wavelet: int | None
) -> None:
    default = PRESETS["began"]["default"]
    data = folder(tmp_path / "drawings", [drawing(n) for n in range(60)])
    config = with_settings(default, {"data": str(data), "network": network, "resolution": 16, "device": "cpu"})
    values = flat(fill_in(config, {"network.name", "network.width", "resolution", "batch"}).config.to_dict())
    assert (values["objective.gamma"], values.get("network.wavelet")) == (gamma, wavelet)


def test_bundled_data_keep_their_presets() -> None:
    assert not any(map(is_chosen_for, ("digits", "grid25", "ring8")))
    assert all(map(is_chosen_for, ("photos/", "faces", "digits.npz", "./digits", "x-{0..9}.tar", "hf://ylecun/mnist")))


@pytest.mark.parametrize("objective", ["began", "wgan-gp"])
def test_timing_leaves_no_trace(objective: str) -> None:
    """Neither in random generators nor in the weights and moments of what is trained afterwards."""
    config = PRESETS[objective]["default"].with_changes(resolution=16, batch=8, device="cpu")

    def states() -> list[Any]:
        return [torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()]

    before, threads = states(), torch.get_num_threads()
    assert images_per_second(config, (3, 16, 16), 0, torch.device("cpu")) > 0
    assert states() == before
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() is False


@pytest.mark.parametrize("objective", [OBJECTIVES["magan"](), OBJECTIVES["wgan"](long_phases=True)])
def test_steps_are_timed_as_they_are_after_a_beginning_of_the_discriminator_alone(
    objective: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[bool] = []

    def noting(train_state: TrainState, *arguments: Any) -> Any:
        step = equipoise_step(train_state, *arguments)

        def noted() -> None:
            moves.append(train_state.generator_moves)
            step()

        return noted

    monkeypatch.setattr("equipoise.suggestion.speed.equipoise_step", noting)
    monkeypatch.setattr("equipoise.suggestion.speed.MOST", 2)
    config = TrainConfig(objective=objective, resolution=16, batch=2, device="cpu", precision="fp32", n_critic=2)
    config = config.with_changes(network=replace(config.network, width=4))
    assert images_per_second(config, (1, 16, 16), 0, torch.device("cpu")) > 0
    assert moves[:4] == [False, True, False, True]


def test_a_score_is_timed_and_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path / "cache"))
    config = with_settings(PRESETS["gan"]["default"], {"resolution": 16, "network.width": 4, "score_count": 20})
    before = torch.get_rng_state().tolist()
    assert seconds_per_score(config, (1, 16, 16), 0, torch.device("cpu")) > 0
    filling_in = with_settings(config, {"tasks.inpaint": 0.999, "tasks.adversarial": 0.001, "tasks.classify_d": 1.0})
    assert seconds_per_score(filling_in, (1, 16, 16), 3, torch.device("cpu")) > 0
    assert torch.get_rng_state().tolist() == before
    assert not list(tmp_path.iterdir())


def test_scores_are_part_of_the_minutes(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.suggestion.suggest.images_per_second", lambda *_: 100.0)
    monkeypatch.setattr("equipoise.suggestion.suggest.seconds_per_score", lambda *_: 2.0)
    for score_every, images in ((0, 30_000), (1_000, 24_000), (100, 9_000)):
        found = equipoise.suggest(photos, device="cpu", minutes=5, score_every=score_every)
        assert found.config.images == images
        assert found.seconds <= 5 * 60
    assert found.seconds > 4.5 * 60
    assert equipoise.suggest(photos, device="cpu", minutes=1e-6, score_every=100).config.images == 1_000


def test_classes_are_timed_where_they_are_learnt() -> None:
    gan = PRESETS["gan"]["default"]
    config = with_settings(gan, {"tasks.classify_d": 1.0, "tasks.classify_g": 1.0, "network.width": 4, "batch": 8})
    assert images_per_second(config, (1, 32, 32), 3, torch.device("cpu")) > 0


def test_a_chosen_run_is_the_one_that_its_configuration_makes(within: Command, photos: Path, tmp_path: Path) -> None:
    """To the bit: choosing, and timing this machine, leave nothing in the run but what config.yaml says."""
    done = within("train", "began", "--data", photos, *SMALL, "--log-every", "16", "--out", "chosen")
    assert done.returncode == 0, done.stderr
    run = Run.open(tmp_path / "chosen")
    assert flat(run.config.to_dict())["objective.gamma"] == 0.85
    assert run.config.images == 128
    events = [row["message"] for row in run.rows("events.jsonl") if row["kind"] == "settings"]
    assert any("gamma 0.85: photographs" in message for message in events)
    again = within("train", "--config", "chosen/config.yaml", "--out", "again", "--quiet")
    assert again.returncode == 0, again.stderr
    for file in ("metrics.jsonl", f"samples/{run.samples()[-1].name}"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "chosen" / file).read_bytes()
    resumed = within("resume", "chosen", "--images", "160", "--quiet")
    assert resumed.returncode == 0, resumed.stderr
    same = within(
        "train",
        "began",
        "--data",
        photos,
        *SMALL[2:],
        "--images",
        "160",
        "--log-every",
        "16",
        "--out",
        "chosen",
        "--resume-if-exists",
    )
    assert same.returncode == 0, "what was chosen before is not chosen anew"


def test_the_command_trains_as_suggested(within: Command, photos: Path, tmp_path: Path) -> None:
    done = within("suggest", photos, *SMALL[:-1], "--json", "suggestion.json")
    assert done.returncode == 0, done.stderr
    (command,) = done.stdout.splitlines()
    assert "gamma" in done.stderr
    assert not (tmp_path / "runs").exists()
    words = shlex.split(command)
    assert words[:3] == ["equipoise", "train", "began"]
    trained = within(*words[1:], "--out", "run", "--quiet")
    assert trained.returncode == 0, trained.stderr
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    suggested = json.loads((tmp_path / "suggestion.json").read_text())["config"]
    assert {name: config[name] for name in suggested} == suggested


def test_presets_configurations_and_built_in_images_are_left_alone(
    within: Command, photos: Path, tmp_path: Path
) -> None:
    words = [*SMALL, "--resolution", "16"]
    assert within("train", "began", "--preset", "default", "--data", photos, *words, "--out", "a").returncode == 0
    assert within("train", "--config", "a/config.yaml", "--out", "b", "--quiet").returncode == 0
    assert within("train", "began", *words, "--out", "c").returncode == 0
    for name in "abc":
        run = Run.open(tmp_path / name)
        assert flat(run.config.to_dict())["objective.gamma"] == 1.0
        assert not [row for row in run.rows("events.jsonl") if row["kind"] == "settings"]


def test_minutes_of_a_preset_are_its_length_alone(within: Command, tmp_path: Path) -> None:
    words = ["--width", "4", "--resolution", "16", "--batch", "16", "--device", "cpu", "--minutes", "0.0001", "--quiet"]
    done = within("train", "began", *words, "--out", "run")
    assert done.returncode == 0, done.stderr
    config = Run.open(tmp_path / "run").config
    assert config.images == 1000
    assert flat(config.to_dict())["network.latent"] == 64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "began", "--data", "few", "--minutes", "1"], "few has 10 images, .*--preset default"),
        (["suggest", "few"], "few has 10 images, of which a GAN learns nothing but copies"),
        (["suggest"], "data|DATA"),
        (["suggest", "nowhere"], "there is no file, folder or bundled data named 'nowhere'"),
        (["suggest", "grid25"], "grid25 is a toy, .*`equipoise train began --data grid25`"),
        (["suggest", "few", "--minutes", "0"], "minutes: input should be greater than 0"),
        (["suggest", "few", "--minutes", "nan"], "minutes"),
        (["suggest", "few", "--objective", "begn"], "unknown objective 'begn'"),
        (["suggest", "few", "--gama", "1"], "--gamma"),
        (["train", "began", "--minutes", "1", "--images", "1k"], "leave one of them out"),
        (
            ["train", "began", "--data", "grid25", "--minutes", "1"],
            "--minutes is for images, .*grid25 is a toy.*--images",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_sentence_and_leave_nothing(
    within: Command, tmp_path: Path, words: list[str], message: str
) -> None:
    folder(tmp_path / "few", [photograph(number) for number in range(10)])
    done = within(*words)
    assert done.returncode == 2, done
    assert "Traceback" not in done.stderr
    assert re.search(message, " ".join(done.stderr.split())), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["few"]


def test_few_images_train_all_the_same_by_a_preset(within: Command, tmp_path: Path) -> None:
    folder(tmp_path / "few", [photograph(number) for number in range(20)])
    words = ["--width", "4", "--images", "32", "--batch", "8", "--device", "cpu", "--quiet"]
    done = within("train", "began", "--preset", "default", "--data", "few", *words)
    assert done.returncode == 0, done.stderr


def test_settings_by_path() -> None:
    config = PRESETS["began"]["default"]
    changed = with_settings(config, {"objective.gamma": 0.5, "network.width": 8, "images": 1000})
    before, after = flat(config.to_dict()), flat(changed.to_dict())
    assert {name for name in after if after[name] != before[name]} == {"objective.gamma", "network.width", "images"}
    with pytest.raises(UsageError, match="gamma"):
        with_settings(config, {"objective.gamma": 3.0})


def test_choices_are_shown_as_people_write_them() -> None:
    assert [Choice("flip", value, "").shown for value in (True, False)] == ["on", "off"]
    assert Choice("images", 200_000, "").shown == "200,000"
    assert Choice("augment", ["colour", "translation"], "").shown == "colour, translation"
    assert Choice("network.lr_ratio", 0.5, "").name == "lr-ratio"


def test_fill_in_takes_names_paths_and_whole_sections(photos: Path) -> None:
    config = with_settings(
        PRESETS["began"]["default"], {"data": str(photos), "network.width": 4, "batch": 16, "device": "cpu"}
    )
    filled = fill_in(config, {"network", "objective.gamma", "resolution"})
    assert {*filled.reasons} == {"lr", "flip", "augment", "batch", "images"}


def test_the_speed_is_that_of_what_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a size is given, though what decides on other sizes is the speed at the usual one."""
    data = folder(tmp_path / "data", [drawing(n).convert("L") for n in range(60)])
    monkeypatch.setattr("equipoise.suggestion.suggest.images_per_second", lambda *_: 100.0)
    for given in ({}, {"resolution": 64}, {"resolution": 16}, {"width": 8}):
        found = equipoise.suggest(data, device="cpu", **given)
        assert found.images_per_second == 100
        assert equipoise.suggest(data, device="cpu", minutes=5, **given).config.images == 30_000
