"""Whole runs: resuming, many processes, divergence."""

import math
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import equipoise
from command import Command
from equipoise import Autoencoder, Run, TrainConfig, UsageError
from equipoise.config.datasets import open_dataset
from equipoise.config.train_config import read_yaml
from equipoise.data import to_uint8
from equipoise.networks.players import Discriminator, EnergyDiscriminator
from equipoise.objectives import BEGAN, OBJECTIVES
from equipoise.randomness import keyed_generator, latents
from equipoise.runs.checkpoint import load
from equipoise.runs.listing import read_status
from equipoise.runs.numbered import images_of
from equipoise.sampling.load import load_generator
from equipoise.training.batch import make_batch
from equipoise.training.distributed import Distributed
from equipoise.training.health import not_finite
from equipoise.training.schedule import lowest_if_stalled
from equipoise.views.figures import grid
from zygote import Zygote

pytestmark = pytest.mark.usefixtures("no_report")


def contents(run: Run) -> tuple[dict[str, torch.Tensor], str, list[bytes]]:
    """What two equal runs must agree on, to the bit."""
    tensors, _ = load(run.checkpoints()[-1])
    return tensors, (run.path / "metrics.jsonl").read_text(), [grid.read_bytes() for grid in run.samples()]


def assert_same(a: Run, b: Run) -> None:
    ours, theirs = contents(a), contents(b)
    assert ours[0].keys() == theirs[0].keys()
    for name, tensor in ours[0].items():
        assert torch.equal(tensor, theirs[0][name]), name
    assert ours[1:] == theirs[1:]


def test_a_run_in_float64_goes_the_same_way(small: TrainConfig, tmp_path: Path) -> None:
    """Convolutions in float64, as in bf16 on older CPUs, are PyTorch's own, which are strict about layouts."""
    first, second = (
        equipoise.train(small.with_changes(precision=precision), tmp_path / precision, quiet=True).rows()[1]
        for precision in ("fp32", "fp64")
    )
    assert second["energy_real"] == pytest.approx(first["energy_real"], rel=1e-5)
    assert second["energy_real"] != first["energy_real"]


def test_a_refused_precision_leaves_no_folder(
    small: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EQUIPOISE_AUTO_PRECISION", "fp16")
    with pytest.raises(UsageError, match="EQUIPOISE_AUTO_PRECISION"):
        equipoise.train(small.with_changes(precision="auto"), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_every_draw_is_a_function_of_seed_and_position(small: TrainConfig) -> None:
    feed, cpu = open_dataset(small).feed, torch.device("cpu")
    for position in (0, 4_992, 100_000):
        whole = make_batch(small, feed, position, Distributed(), cpu)
        halves = [make_batch(small, feed, position, Distributed(rank=rank, world_size=2), cpu) for rank in (0, 1)]
        for part in (
            lambda given: given.real,
            lambda given: given.latent,
            lambda given: given.labels,
            lambda given: given.draws.uniform("u", 3),
            lambda given: given.draws.normal("n", 2, 2),
            lambda given: given.draws.integers("i", 10),
        ):
            assert torch.equal(part(whole), torch.cat([part(half) for half in halves]))
    other = make_batch(small.with_changes(seed=1), feed, 0, Distributed(), cpu)
    assert not torch.equal(whole.latent, other.latent)
    assert whole.real.min() >= -1
    assert whole.real.max() <= 1


def test_flips_mirror_about_half_of_the_images(small: TrainConfig) -> None:
    feed, cpu = open_dataset(small).feed, torch.device("cpu")
    small = small.with_changes(batch=256)
    plain, flipped = (
        make_batch(small.with_changes(flip=flip), feed, 0, Distributed(), cpu).real for flip in (False, True)
    )
    mirrored = [torch.equal(b, a.flip(-1)) and not torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    same = [torch.equal(a, b) for a, b in zip(plain, flipped, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 90 < sum(mirrored) < 166


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_stopped_and_resumed_run_equals_one_that_never_stopped(
    small: TrainConfig, tmp_path: Path, precision: str
) -> None:
    network = Autoencoder(width=4, latent=8, residual=120, skips=True)
    small = small.with_changes(precision=precision, network=network, sample_every=48)
    whole = equipoise.train(small, tmp_path / "whole", quiet=True)
    parts = equipoise.train(small.with_changes(images=96), tmp_path / "parts", quiet=True)
    parts = equipoise.resume(parts.path, images=160, quiet=True)
    assert_same(whole, parts)


def test_the_opened_generator_is_the_trained_one(small: TrainConfig, tmp_path: Path) -> None:
    """Vanishing residuals included: the run's own last grid comes out again."""
    small = small.with_changes(network=Autoencoder(width=4, latent=8, residual=200, skips=True))
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    z = latents(256, 8, small.prior, keyed_generator(small.seed, "samples"))[:64]
    with torch.no_grad():
        again = grid(to_uint8(load_generator(run)(z)))
    with Image.open(run.samples()[-1]) as last:
        difference = np.abs(np.asarray(last, np.int16) - np.asarray(again, np.int16))
    assert difference.max() <= 1, "the rounding of another batch size at most"


def test_resuming_a_finished_run_changes_nothing(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    before = contents(run)
    assert_bits = contents(equipoise.resume(run.path, quiet=True))
    assert before[1:] == assert_bits[1:]


def test_a_damaged_checkpoint_is_passed_over_in_words(
    small: TrainConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = equipoise.train(small, tmp_path / "whole", quiet=True)
    run = equipoise.train(small, tmp_path / "run", quiet=True)
    last = run.checkpoints()[-1]
    last.write_bytes(last.read_bytes()[:-100])
    run = equipoise.resume(run.path)
    assert "using the one before it" in " ".join(capsys.readouterr().err.split())
    assert_same(whole, run)
    for checkpoint in run.checkpoints():
        checkpoint.write_bytes(b"nonsense")
    with pytest.raises(UsageError, match="no checkpoint that can be read"):
        equipoise.resume(run.path, quiet=True)


def test_a_damaged_checkpoint_never_outlives_a_good_one(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small.with_changes(keep=1), tmp_path / "run", quiet=True)
    good = run.checkpoints()[-1].read_bytes()
    (run.path / "checkpoints" / "000000000999.safetensors").write_bytes(good[:-100])
    equipoise.resume(run.path, images=192, quiet=True)
    assert [path.stem for path in run.checkpoints()] == ["000000000192"]
    assert run.load_checkpoint()[1]["images"] == 192


def test_other_data_under_the_same_name_is_refused(small: TrainConfig, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(16):
        Image.new("L", (16, 16), number).save(folder / f"{number}.png")
    run = equipoise.train(small.with_changes(data=str(folder), images=16, held_out=0), tmp_path / "run", quiet=True)
    Image.new("L", (16, 16), 99).save(folder / "one-more.png")
    with pytest.raises(UsageError, match="not those that"):
        equipoise.resume(run.path, images=32, quiet=True)


@pytest.mark.long  # test_elastic.py has one, two and three
def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Half the batch each: the same losses, k and weights as one process, to 1e-5 after 20 steps."""
    config = TrainConfig(
        objective=BEGAN(recover=0.3, match=0.7, pull=0.2),
        network=Autoencoder(width=4, latent=8),
        resolution=16,
        batch=16,
        lr_ratio=2.0,
        prior="uniform",
        images=320,
        log_every=16,
        sample_every=320,
        checkpoint_every=320,
        lr=5e-4,
        precision="fp32",
        device="cpu",
    )
    config.to_dict()
    one = equipoise.train(config, tmp_path / "one", quiet=True)
    two = equipoise.train(config.with_changes(devices=2), tmp_path / "two", quiet=True)
    ours, theirs = contents(one)[0], contents(two)[0]
    for name, tensor in ours.items():
        torch.testing.assert_close(
            tensor, theirs[name], rtol=1e-5, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for a, b in zip(one.rows(), two.rows(), strict=True):
        assert a == pytest.approx(b, rel=1e-5, abs=1e-5)


@pytest.mark.long  # test_elastic.py starts its processes as torchrun does
def test_torchrun_starts_the_processes_too(small: TrainConfig, tmp_path: Path) -> None:
    from equipoise.config.train_config import write_yaml

    (tmp_path / "run.yaml").write_text(write_yaml(small.with_changes(precision="fp32"), {}))
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "equipoise"]
    command += ["train", "--config", "run.yaml", "--out", "both", "--quiet"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    one = equipoise.train(small, tmp_path / "one", quiet=True)
    both = Run.open(tmp_path / "both")
    assert [row["images"] for row in one.rows()] == [row["images"] for row in both.rows()]
    for a, b in zip(one.rows(), both.rows(), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-4)


def test_processes_that_cannot_share_the_batch_are_refused(zygote: Zygote, tmp_path: Path) -> None:
    words = ["began", "--batch", "15", "--resolution", "16", "--out", "run", "--quiet", "--device", "cpu"]
    for process in zygote.ranks(2, "train", *words, cwd=tmp_path):
        code, told = process.wait()
        assert code != 0
        assert "--batch 15 does not divide by the 2 processes" in told


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(
    small: TrainConfig, tmp_path: Path
) -> None:
    network = Autoencoder(width=32, latent=8, eta=2, init="scaled")
    diverging = small.with_changes(lr=1.0, images=16_000, network=network, log_every=160, warmup=0)
    with pytest.raises(equipoise.Diverged, match=r"stopped being finite.*--lr"):
        equipoise.train(diverging, tmp_path / "run", quiet=True)
    run = Run.open(tmp_path / "run")
    assert any(event["kind"] == "not-finite" for event in run.rows("events.jsonl"))
    tensors, _, passed_over = run.load_checkpoint()
    assert not passed_over
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert all(math.isfinite(value) for row in run.rows() for value in row.values())


def test_not_finite_names_what_it_saw() -> None:
    assert not_finite({"k": 0.5}, 100) is None
    for bad in (math.nan, math.inf, -math.inf):
        finding = not_finite({"k": 0.5, "energy_real": bad}, 100)
        assert finding is not None
        assert finding.message.startswith("energy_real ")


def test_until_converged_stops_at_the_lowest_rate(small: TrainConfig, tmp_path: Path, within: Command) -> None:
    config = small.with_changes(
        images=100_000,
        until_converged=True,
        lr=1e-6,
        lr_floor=5e-7,
        lr_window=32,
        lr_patience=1,
        sample_every=10_000,
        warmup=0,
    )
    run = equipoise.train(config, tmp_path / "run", quiet=True)
    rows = [row for row in run.rows() if "lr" in row]
    assert rows[-1]["images"] < 100_000
    assert rows[-1]["lr"] == 5e-7
    assert int(run.checkpoints()[-1].stem) == int(run.samples()[-1].stem) == rows[-1]["images"]
    assert any("stalled" in event["message"] for event in run.rows("events.jsonl"))
    before, images = contents(run), int(run.checkpoints()[-1].stem)
    assert contents(equipoise.resume(run.path, quiet=True))[1:] == before[1:], "converged is finished"
    with pytest.raises(
        UsageError, match=f"has converged after {images:,} images: to train on, put `until_converged: f"
    ):
        equipoise.resume(run.path, images=200_000, quiet=True)
    assert contents(run)[1:] == before[1:]
    told = within("resume", run.path, "--quiet").stderr
    assert f"has converged after {images:,} images: to train on" in told
    file = run.path / "config.yaml"
    file.write_text(file.read_text().replace("until_converged: true", "until_converged: false"))
    on = equipoise.resume(run.path, images=images + config.batch, quiet=True)
    assert on.rows()[-1]["images"] == images + config.batch
    assert "has seen all of its" in within("resume", run.path, "--quiet").stderr


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.long)])
def test_until_converged_goes_by_kid_where_the_rate_is_constant(
    small: TrainConfig, tmp_path: Path, devices: int
) -> None:
    """The lowest KID comes at some time; once it is old it ends, in every process."""
    intervals = {"score_every": 16, "score_count": 20, "sample_every": 4_000, "checkpoint_every": 4_000}
    config = small.with_changes(images=4_000, until_converged=True, lr_patience=0, devices=devices, **intervals)
    run = equipoise.train(config, tmp_path / "run", quiet=True)
    scores = [(int(row["images"]), row["kid"]) for row in run.rows() if "kid" in row]
    end, best = scores[-1][0], min(scores, key=lambda score: score[1])
    assert lowest_if_stalled(scores) == best
    assert lowest_if_stalled(scores[:-1]) is None
    assert end < 4_000
    assert int(run.checkpoints()[-1].stem) == int(run.samples()[-1].stem) == run.rows()[-1]["images"] == end
    assert images_of(run.best_checkpoint()) == best[0]
    [said] = [event["message"] for event in run.rows("events.jsonl") if event["kind"] == "converged"]
    assert said.startswith(f"converged: KID has been no lower since {best[0]:,} images (")
    assert read_status(run.path).state == "finished"
    before = contents(run)
    assert contents(equipoise.resume(run.path, devices=1, quiet=True))[1:] == before[1:], "converged is finished"
    with pytest.raises(UsageError, match=f"has converged after {end:,} images"):
        equipoise.resume(run.path, images=8_000, quiet=True)


def test_until_converged_without_a_signal_is_refused(small: TrainConfig) -> None:
    with pytest.raises(UsageError, match="--until-converged goes by KID here: say how often to score"):
        small.with_changes(until_converged=True, lr_patience=0)


def test_batch_larger_than_the_data(small: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only [0-9]+ images, the held-out ones aside: use --batch 4"):
        equipoise.train(small.with_changes(batch=5008), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small.with_changes(images=16), tmp_path / "run", quiet=True)
    before = (run.path / "config.yaml").read_bytes()
    with pytest.raises(UsageError, match="already holds a run: go on with `equipoise resume"):
        equipoise.train(small, run.path, quiet=True)
    assert (run.path / "config.yaml").read_bytes() == before
    assert read_yaml(before.decode(), "it").images == 16


def long_run(tmp_path: Path, *more: str) -> "subprocess.Popen[str]":
    words = ["train", "began", "--width", "4", "--resolution", "16", "--latent", "8", "--images", "10M", *more]
    words += ["--out", "run", "--log-every", "64", "--sample-every", "100k", "--checkpoint-every", "100k"]
    words += ["--precision", "fp32"]
    process = subprocess.Popen(
        [sys.executable, "-m", "equipoise", *words],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 90
    while not (tmp_path / "run" / "metrics.jsonl").exists() or len(Run.open(tmp_path / "run").rows()) < 4:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_writes_a_checkpoint_and_says_how_to_go_on(tmp_path: Path, number: int, code: int) -> None:
    process = long_run(tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert "go on with `equipoise resume run`" in errors
    assert "Traceback" not in errors
    run = Run.open(tmp_path / "run")
    stopped = int(run.checkpoints()[-1].stem)
    assert stopped > 64
    resumed = equipoise.resume(run.path, images=stopped + 160, quiet=True)
    whole = equipoise.train(resumed.config.with_changes(images=stopped + 160), tmp_path / "whole", quiet=True)
    assert_same(whole, resumed)


def test_a_signal_stops_two_processes_together(tmp_path: Path) -> None:
    process = long_run(tmp_path, "--devices", "2")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert "go on with `equipoise resume run`" in errors


def test_killed_without_warning_then_resumed(tmp_path: Path) -> None:
    process = long_run(tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    run = equipoise.resume(tmp_path / "run", images=640, quiet=True)
    whole = equipoise.train(run.config, tmp_path / "whole", quiet=True)
    assert_same(whole, run)


def test_images_need_not_be_square(small: TrainConfig, tmp_path: Path) -> None:
    run = equipoise.train(small.with_changes(resolution="24x16"), tmp_path / "run", quiet=True)
    assert equipoise.sample(run, 3).shape == (3, 1, 16, 24)
    assert Run.open(run.path).config.resolution == "24x16"
    assert equipoise.resume(run.path, images=192, quiet=True).checkpoints()[-1].stem == f"{192:012d}"


def test_held_out_images_are_never_drawn(small: TrainConfig) -> None:
    images = open_dataset(small).feed
    everything = open_dataset(small.with_changes(held_out=0)).feed
    assert len(everything) == 5000
    held = set(everything.split(small.held_out)[1].digests.tolist())
    assert held
    assert not held & set(images.digests.tolist())
    assert len(images) + len(held) <= 5000


@pytest.mark.parametrize(("objective", "discriminator"), [("began", EnergyDiscriminator), ("gan", Discriminator)])
def test_few_frames_lie_between_train_and_the_discriminator(
    objective: str, discriminator: type[nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who follows a batch from train() to D(x) passes through as few functions as can be, torch's two included."""
    between: list[list[str]] = []
    forward = discriminator.forward

    def noting(self: nn.Module, images: torch.Tensor) -> Any:
        frames = [frame.name for frame in traceback.extract_stack()][:-1]
        if "train_step" in frames:
            between.append(frames[len(frames) - frames[::-1].index("train") :])
        return forward(self, images)

    monkeypatch.setattr(discriminator, "forward", noting)
    settings = {"resolution": 16, "images": 32, "batch": 16, "device": "cpu", "precision": "fp32"}
    equipoise.train(TrainConfig(objective=OBJECTIVES[objective](), **settings), tmp_path / "run", quiet=True)
    assert len(between) == 6
    assert all(len(frames) <= 7 for frames in between), between


def test_too_little_memory_for_a_step_is_told_in_a_sentence(small: TrainConfig, tmp_path: Path) -> None:
    """What a step takes beside weights is not known before; once there is room, the run goes on."""
    run, forward, calls = tmp_path / "run", EnergyDiscriminator.forward, []

    def asking(self: EnergyDiscriminator, images: torch.Tensor) -> Any:
        calls.append(len(images))
        return forward(self, images if len(calls) < 10 else torch.empty(2**50))  # which no allocator gives

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EnergyDiscriminator, "forward", asking)
        with pytest.raises(UsageError, match=r"too little memory .* smaller --batch.*resume .* at \d+ images"):
            equipoise.train(small, run, quiet=True)
    assert not list(tmp_path.rglob(".*.tmp"))
    assert int(equipoise.resume(run, quiet=True).checkpoints()[-1].stem) == small.images
