"""Images a second and answer times of `equipoise serve`, and what watching a run costs its training.

Real servers in processes of their own, on this machine, with clients in threads of this process:

    python -m benchmarks.serving images --seconds 5         # 1, 8, 64 clients; batched or not, or by onnxruntime
    python -m benchmarks.serving live                       # from a line written to a line delivered
    python -m benchmarks.serving training --rounds 5        # a training that is watched beside one that is not
    python -m benchmarks.serving memory --minutes 10        # of the server under load
    python -m benchmarks.serving end --rounds 5             # from SIGTERM to the process's end
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

import numpy as np
import requests
import torch
from torch import Tensor, nn

import equipoise
from benchmarks.export import NETWORKS, untrained
from equipoise import Run
from equipoise.config.presets import PRESETS
from equipoise.exporting.onnx_models import open_session
from equipoise.networks import Autoencoder
from equipoise.players import GeneratorOutput
from equipoise.runs.lock import sole_writer
from equipoise.serving import models
from equipoise.serving.catalogue import id_of
from equipoise.serving.serve import listen, make_server
from equipoise.serving.settings import Limits, Settings

CLIENTS = (1, 8, 64)
UNBOUNDED = Limits(requests_per_second=1e9, burst=1e9, queued=256, answer_seconds=20)


class OnnxGenerator(nn.Module):
    """A generator's exported model, in the place of the generator."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.session = open_session(str(file), threads=1)
        self.weight = nn.Parameter(torch.empty(0))  # by which callers know device and type

    def forward(self, latents: Tensor) -> GeneratorOutput:
        """Images (N, C, H, W) of latents (N, latent)."""
        return GeneratorOutput(self.session({"latents": latents})[0])


def _serve(folder: Path, batched: bool, onnx: Path | None, limits: Limits, port: "multiprocessing.Queue[int]") -> None:
    torch.set_num_threads(1)
    if onnx is not None:
        models.trained_generator = lambda *_, **__: OnnxGenerator(onnx)  # type: ignore[attr-defined]
    listening = listen("127.0.0.1", 0)
    server = make_server(Settings(paths=(folder,), device="cpu", batched=batched, limits=limits))
    port.put(listening.getsockname()[1])
    server.run(sockets=[listening])


@contextmanager
def server(
    folder: Path, *, batched: bool = True, onnx: Path | None = None, limits: Limits = UNBOUNDED
) -> Iterator[tuple[str, int]]:
    """The address of the API of a server in a process of its own, and the process's number.

    With `onnx`, the server has this model in onnxruntime in place of its one generator.
    """
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    process = context.Process(target=_serve, args=(folder, batched, onnx, limits, port))
    process.start()
    try:
        url = f"http://127.0.0.1:{port.get(timeout=120)}"
        while requests.get(f"{url}/healthz", timeout=60).status_code != 200:
            pass
        yield f"{url}/api/v1", process.pid or 0
    finally:
        process.terminate()
        process.join(30)


def load(url: str, run_id: str, clients: int, seconds: float) -> tuple[list[float], int]:
    """Seconds of every answer, an image each, and the number of refusals, with so many clients at once."""
    times: list[float] = []
    first = {"count": 1, "seed": 0}
    while requests.post(f"{url}/runs/{run_id}/generate", json=first, timeout=60).status_code != 200:
        time.sleep(0.1)  # the checkpoint is being loaded
    refused, ends = [0], time.monotonic() + seconds

    def client(number: int) -> None:
        with requests.Session() as session:
            seed = number * 100_000
            while time.monotonic() < ends:
                start, seed = time.monotonic(), seed + 1
                answer = session.post(f"{url}/runs/{run_id}/generate", json={"count": 1, "seed": seed}, timeout=60)
                if answer.status_code == 200:
                    times.append(time.monotonic() - start)
                else:
                    refused[0] += 1

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, refused[0]


COLUMNS = ("network", "way", "clients", "images/s", "p50 ms", "p95 ms", "p99 ms", "refused")


def row(*cells: object) -> None:
    """Print a row of a table, numbers whole."""
    print(f"| {' | '.join(f'{cell:.0f}' if isinstance(cell, float) else str(cell) for cell in cells)} |", flush=True)


def images(folder: Path, seconds: float) -> None:
    """Print a row for every network, number of clients and way; the ways take their turn beside one another."""
    row(*COLUMNS)
    row(*["---"] * len(COLUMNS))
    for name, (objective, network, side) in NETWORKS.items():
        run = untrained(folder / name.replace(", ", "-").replace(" ", "-"), objective, network, side)
        model = exported(run)
        with (
            server(run.path) as (batched, _),
            server(run.path, batched=False) as (alone, _),
            server(run.path, onnx=model) as (onnx, _),
        ):
            for clients in CLIENTS:
                for way, url in (("batched", batched), ("one by one", alone), ("batched, onnxruntime", onnx)):
                    times, refused = load(url, id_of(run.path), clients, seconds)
                    quantiles = [float(1000 * np.quantile(times or [np.nan], share)) for share in (0.5, 0.95, 0.99)]
                    row(name, way, clients, len(times) / seconds, *quantiles, refused)


def exported(run: Run) -> Path:
    """The run's generator as an ONNX model."""
    folder = run.path.parent / f"{run.path.name}-onnx"
    equipoise.export(run.path, folder, format="onnx", fp16=False)
    return folder / "generator.onnx"


def live(folder: Path, lines: int = 200) -> None:
    """Print how long it takes from a line written to a line delivered."""
    run = Run.create(folder / "live", PRESETS["began"]["default"])
    run.rewind(0)
    written: dict[int, float] = {}
    delays: list[float] = []
    # As a training in progress holds it.
    with (
        sole_writer(run.path),
        server(folder) as (url, _),
        requests.get(f"{url}/runs/{id_of(run.path)}/events", stream=True, timeout=60) as got,
    ):
        found = (line for line in got.iter_lines(chunk_size=1, decode_unicode=True))
        next(line for line in found if line == "event: status")

        def write() -> None:
            for number in range(1, lines + 1):
                time.sleep(0.03 + 0.05 * (number % 7) / 7)
                written[number] = time.monotonic()
                run.append("metrics.jsonl", {"images": number, "k": 0.5})

        threading.Thread(target=write).start()
        while len(delays) < lines:
            row = next(line for line in found if line.startswith("data: ") and '"k"' in line)
            delays.append(time.monotonic() - written[json.loads(row[6:])["images"]])
    middle, high, most = (1000 * np.quantile(delays, share) for share in (0.5, 0.95, 1))
    print(f"{lines} lines: p50 {middle:.0f} ms, p95 {high:.0f} ms, longest {most:.0f} ms from written to delivered")


def training(folder: Path, rounds: int) -> None:
    """Print what a training takes while three clients watch it, over that while nobody does, turn by turn.

    In time of the clock, which other programs disturb, and so does the server itself where there is no core for it; in
    the processor's time of the training's own process, which is what coupling would cost; and the share of one core
    that the server takes meanwhile. Other programs lengthen the processor's time too, by the caches that they share,
    and never shorten it: the least of each is the least disturbed.
    """
    config = PRESETS["began"]["remedies"].with_changes(
        network=Autoencoder(width=8, latent=8), resolution=16, images=5_000, log_every=100, device="cpu"
    )

    def train(place: Path) -> tuple[float, float]:
        start, worked = time.monotonic(), time.process_time()
        equipoise.train(config, place / "run", quiet=True)
        return time.monotonic() - start, time.process_time() - worked

    def watch(url: str) -> None:
        with suppress(requests.RequestException), requests.get(f"{url}/live", stream=True, timeout=600) as answer:
            run_id = next(line for line in answer.iter_lines(1) if b'"id"' in line).split(b'"')[3].decode()
            for _ in requests.get(f"{url}/runs/{run_id}/events", stream=True, timeout=600).iter_content(None):
                pass

    torch.set_num_threads(1)
    train(folder / "warm")
    watched, alone, shares = [], [], []
    for number in range(rounds):
        place = folder / f"watched-{number}"
        place.mkdir()
        if number % 2:  # each is the first as often
            alone.append(train(folder / f"alone-{number}"))
        with server(place) as (url, pid):
            for _ in range(3):
                multiprocessing.get_context("fork").Process(target=watch, args=(url,), daemon=True).start()
            before = processor_seconds(pid)
            watched.append(train(place))
            shares.append((processor_seconds(pid) - before) / watched[-1][0])
        if not number % 2:
            alone.append(train(folder / f"alone-{number}"))
        clock, processor = np.divide(watched[-1], alone[-1])
        print(f"round {number}: clock, processor, server {clock:.3f} {processor:.3f} {shares[-1]:.3f}", flush=True)
    ratios = np.divide(watched, alone)
    for name, clock, processor in (
        ("median of ratios", *np.median(ratios, axis=0)),
        ("ratio of the least", *np.divide(np.min(watched, axis=0), np.min(alone, axis=0))),
    ):
        print(f"{name}: clock {clock:.3f}, processor {processor:.3f}")
    print(f"server: {statistics.median(shares):.3f} of a core")


def processor_seconds(pid: int) -> float:
    """Seconds that a process has computed so far."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def memory(folder: Path, minutes: float) -> None:
    """Print the resident memory of a server under load, every tenth of the time."""
    objective, network, side = NETWORKS["autoencoder, 64 wide, 32x32"]
    run = untrained(folder / "run", objective, network, side)
    with server(folder) as (url, pid):
        for tenth in range(11):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            resident = int(next(line for line in lines if line.startswith("VmRSS")).split()[1])
            print(f"{6 * tenth * minutes:.0f} s: {resident / 1024:.0f} MiB", flush=True)
            if tenth < 10:
                load(url, id_of(run.path), 8, 6 * minutes)
                for path in ("runs", f"runs/{id_of(run.path)}/metrics"):
                    requests.get(f"{url}/{path}", timeout=60)


def end(folder: Path, rounds: int) -> None:
    """Print how long a server takes to end when it is told to, idle and with clients and streams that stay open.

    Until it refuses connections, until every client has its answer, and until the process is gone, with the processor's
    seconds of that: where other programs keep the processor busy, the last time is mostly waiting for it.
    """
    objective, network, side = NETWORKS["autoencoder, 64 wide, 32x32"]
    run_id = id_of(untrained(folder / "run", objective, network, side).path)

    def ask(url: str) -> int:
        """Ask for images until the server is gone; the number of answers that broke off."""
        for seed in count():
            try:
                requests.post(f"{url}/runs/{run_id}/generate", json={"count": 1, "seed": seed}, timeout=60)
            except requests.ConnectionError as error:
                return int("refused" not in str(error))
        return 0

    for name, clients in (("idle", 0), ("8 clients, 8 streams", 8)):
        figures, broken = [], 0
        for _ in range(rounds):
            with server(folder) as (url, pid), ThreadPoolExecutor(16) as pool:
                streams = [requests.get(f"{url}/live", stream=True, timeout=60) for _ in range(clients)]
                asking = [pool.submit(ask, url) for _ in range(clients)]
                time.sleep(2)
                start, worked = time.monotonic(), processor_seconds(pid)
                os.kill(pid, signal.SIGTERM)
                with suppress(requests.RequestException):
                    while requests.get(url, timeout=60):
                        time.sleep(0.01)
                refused = time.monotonic() - start
                broken += sum(each.result() for each in asking)
                answered = time.monotonic() - start
                while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    time.sleep(0.01)
                figures.append([refused, answered, time.monotonic() - start, processor_seconds(pid) - worked])
                for stream in streams:
                    stream.close()
        middle = np.median(figures, axis=0)
        print(
            f"{name}: refuses after {middle[0]:.2f} s, answered after {middle[1]:.2f} s, gone after {middle[2]:.2f} s "
            f"and {middle[3]:.2f} s of the processor; {broken} answers broken off",
            flush=True,
        )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["images", "live", "training", "memory", "end"])
    parser.add_argument("--seconds", type=float, default=5, help="of every measurement of images")
    parser.add_argument("--minutes", type=float, default=10, help="of memory")
    parser.add_argument("--rounds", type=int, default=5, help="of training and of end")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        match asked.what:
            case "images":
                images(folder, asked.seconds)
            case "live":
                live(folder)
            case "training":
                training(folder, asked.rounds)
            case "memory":
                memory(folder, asked.minutes)
            case "end":
                end(folder, asked.rounds)


if __name__ == "__main__":
    sys.exit(main())
