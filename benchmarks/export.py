"""Images a second of sampling, by PyTorch and by the exported ONNX models, turn by turn in one process.

Writes docs/results/export.md: for each network, images a second in batches of 1 and of 64, the file's size, and of int8
the loss in KID where the run was trained.

    python -m benchmarks.export --run runs/demo --seconds 2
"""

import argparse
import copy
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import equipoise
from equipoise import Run, TrainConfig
from equipoise.bench.machine import describe
from equipoise.exporting.folder import size_text
from equipoise.exporting.onnx_models import open_session
from equipoise.exporting.trained import Trained
from equipoise.networks import DCGAN, Autoencoder, Network

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "export.md"
ROUNDS, BATCHES = 5, (1, 64)
NETWORKS: dict[str, tuple[str, Network, int]] = {  # objective, network, side
    "autoencoder, 64 wide, 32x32": ("began", Autoencoder(width=64, latent=32), 32),
    "autoencoder, 64 wide, 64x64": ("began", Autoencoder(width=64, latent=64), 64),
    "autoencoder, 128 wide, 64x64": ("began", Autoencoder.paper(), 64),
    "dcgan, 64 wide, 64x64": ("gan", DCGAN(width=64, latent=100), 64),
}


def untrained(path: Path, objective: str, network: Network, side: int) -> Run:
    """A run of initial weights: how fast a network is does not depend on what it was taught."""
    values = {"objective": objective, "resolution": side, "channels": 3, "device": "cpu", "precision": "fp32", "ema": 0}
    values["score_count"] = 64  # as the loss of int8, which the export measures, says nothing here
    config = TrainConfig.from_dict(values).with_changes(network=network)
    run = Run.create(path, config)
    run.rewind(0)
    shape = (3, side, side)
    parts = {
        f"{part}.{name}": tensor
        for part, player in config.build(shape)._asdict().items()
        for name, tensor in player.state_dict().items()
    }
    run.save_checkpoint(0, parts, {"shape": list(shape), "classes": 0, "data": config.data})
    return run


def clock() -> float:
    """Seconds: computed by this process where it has one thread, as others do not count then; else on the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def images_per_second(
    calls: dict[str, Callable[[dict[str, Tensor]], object]], inputs: dict[str, Tensor], seconds: float
) -> dict[str, float]:
    """The median of ROUNDS turns of each; in every round all take their turn."""
    rows = len(inputs["latents"])
    speeds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call(inputs)
    for _ in range(ROUNDS):
        for name, call in calls.items():
            count, began = 0, clock()
            while (took := clock() - began) < seconds / ROUNDS:
                call(inputs)
                count += rows
            speeds[name].append(count / took)
    return {name: statistics.median(each) for name, each in speeds.items()}


def lines_of(name: str, run: Run, home: Path, seconds: float, *, trained: bool) -> list[str]:
    """A line for each engine."""
    equipoise.export(run, home, format="onnx", int8=True)
    loss = json.loads((home / "export.json").read_text())["int8"]
    exported = Trained.open(run, ema=True, best=False)

    @torch.inference_mode()
    def pytorch(inputs: dict[str, Tensor]) -> Tensor:
        images: Tensor = exported.generator(**inputs)
        return images

    channels_last = copy.deepcopy(exported.generator).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def pytorch_bf16(inputs: dict[str, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            images: Tensor = channels_last(**inputs)
        return images

    files = {"fp32": "generator.onnx", "fp16": "generator-fp16.onnx", "int8": "generator-int8.onnx"}
    calls: dict[str, Callable[[dict[str, Tensor]], object]] = {"PyTorch fp32": pytorch, "PyTorch bf16": pytorch_bf16}
    calls |= {
        f"onnxruntime {kind}": open_session(str(home / file), threads=torch.get_num_threads())
        for kind, file in files.items()
    }
    speeds = {rows: images_per_second(calls, exported.inputs(rows), seconds) for rows in BATCHES}
    weights = sum(each.numel() * 4 for each in exported.generator.parameters())
    sizes = {"PyTorch fp32": weights, "PyTorch bf16": weights}
    sizes |= {f"onnxruntime {kind}": (home / file).stat().st_size for kind, file in files.items()}
    kid = {"onnxruntime int8": f"{loss['loss']:+.4f} (from {loss['fp32']:.4f})"} if trained else {}
    return [
        f"| {name} | {engine} | "
        + " | ".join(
            f"{speeds[rows][engine]:,.0f} ({speeds[rows][engine] / speeds[rows]['PyTorch fp32']:.2f})"
            for rows in BATCHES
        )
        + f" | {size_text(sizes[engine])} | {kid.get(engine, '')} |"
        for engine in calls
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained run, for its own line and the loss in KID")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    machine, table = describe(torch.device("cpu")), []
    with tempfile.TemporaryDirectory() as folder:
        if arguments.run:
            run = Run.open(arguments.run)
            name = f"{run.config.network_name} of `--preset demo`, {run.config.resolution}x{run.config.resolution}"
            table += lines_of(name, run, Path(folder, "trained"), arguments.seconds, trained=True)
        for number, (name, kind) in enumerate(NETWORKS.items()):
            made = untrained(Path(folder, f"run{number}"), *kind)
            table += lines_of(name, made, Path(folder, f"onnx{number}"), arguments.seconds, trained=False)
    head = (
        "# Sampling by PyTorch and by onnxruntime\n\n"
        f"`python -m benchmarks.export{' --run runs/demo' if arguments.run else ''} --seconds {arguments.seconds:g}`: "
        f"images a second on {arguments.threads} of {os.cpu_count()} cores of {machine['device']} "
        f"({', '.join(machine['features'])}), the median of {ROUNDS} turns, taken in turn; in brackets relative to "
        f"PyTorch {torch.__version__}. The seconds of one thread are those that it computed. PyTorch's "
        "bf16 is as `equipoise sample` draws where the hardware multiplies it: under autocast, channels-last. fp16 is "
        "computed in fp32 where a CPU's kernels have no other. The loss in KID is of 1,000 samples, by the features "
        "that fit the data.\n\n"
        "| Generator | | images/s, batch 1 | images/s, batch 64 | size | KID lost |\n|---|---|---|---|---|---|\n"
    )
    RESULTS.write_text(head + "\n".join(table) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
