"""Several hosts: two network namespaces of this machine, joined by a virtual cable; and the variables of SLURM."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from test_resume import config

import equipoise
from equipoise import Run, TrainConfig, UsageError
from equipoise.config.train_config import write_yaml
from equipoise.devices import make_launcher
from equipoise.runs.checkpoint import load
from zygote import Zygote

ADDRESSES = ("10.213.7.1", "10.213.7.2")
PORT = 29_613


@pytest.mark.long
def test_tasks_of_slurm_on_two_nodes_train_as_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SLURM would start them, one on each of two nodes, which both are this machine."""
    monkeypatch.setenv("EQUIPOISE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    settings = config("began", images=48)
    (tmp_path / "run.yaml").write_text(write_yaml(settings, {}))
    common = {
        "SLURM_NTASKS": "2",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_LOCALID": "0",
        "SLURM_NODELIST": "127.0.0.1",
        "SLURM_JOB_NAME": "train",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(PORT + os.getpid() % 1000),
    }
    with Zygote() as zygote:
        words = ("train", "--config", "run.yaml", "--out", "both", "--quiet")
        environments = [common | {"SLURM_PROCID": str(node), "SLURM_NODEID": str(node)} for node in range(2)]
        tasks = [zygote.start(*words, cwd=tmp_path, environment=environment) for environment in environments]
        for task in tasks:
            code, told = task.wait()
            assert code == 0, told
    one, both = equipoise.train(settings, tmp_path / "one", quiet=True), Run.open(tmp_path / "both")
    assert load(both.checkpoints()[-1])[1]["processes"] == 2
    for a, b in zip(one.rows(), both.rows(), strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-4)


def test_slurm_must_be_told_how_many_tasks_a_node_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "4")
    monkeypatch.setenv("SLURM_JOB_NAME", "train")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(UsageError, match="SLURM has started 4 tasks: .*--ntasks-per-node"):
        make_launcher("cpu", 1)


def ip(*words: str, check: bool = True) -> bool:
    try:
        return subprocess.run(["ip", *words], capture_output=True, text=True, check=check).returncode == 0
    except (OSError, subprocess.CalledProcessError):
        if check:
            raise
        return False


@pytest.fixture
def hosts() -> Iterator[tuple[str, str]]:
    """Names of two network namespaces with an address each, as two hosts with a cable between them have."""
    names = (f"eq{os.getpid()}a", f"eq{os.getpid()}b")
    if not ip("netns", "add", names[0], check=False):
        pytest.skip("network namespaces cannot be made here")
    try:
        ip("netns", "add", names[1])
        ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "name", "cable0", "netns", names[1])
        for name, address in zip(names, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "cable0")
            for device in ("lo", "cable0"):
                ip("-n", name, "link", "set", device, "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name, check=False)


def start(hosts: tuple[str, str], number: int, folder: Path, out: str, port: int) -> "subprocess.Popen[str]":
    """Torchrun on one of the hosts, with one process."""
    rendezvous = ["--rdzv-backend=c10d", f"--rdzv-endpoint={ADDRESSES[0]}:{port}", f"--rdzv-conf=is_host={1 - number}"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--max-restarts=0"]
    command += [*rendezvous, "--rdzv-id=test", f"--local-addr={ADDRESSES[number]}", "-m", "equipoise", "train"]
    command += ["--config", "run.yaml", "--out", out, "--resume-if-exists", "--quiet"]
    return subprocess.Popen(
        ["ip", "netns", "exec", hosts[number], *command],
        cwd=folder,
        env={**os.environ, "GLOO_SOCKET_IFNAME": "cable0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kill_all(host: str, process: "subprocess.Popen[str]") -> None:
    """Kill what runs on a host: torchrun, and its workers, which have sessions of their own."""
    found = subprocess.run(["ip", "netns", "pids", host], capture_output=True, text=True).stdout.split()
    for pid in found:
        with suppress(OSError):
            os.kill(int(pid), signal.SIGKILL)
    process.kill()
    process.wait()


def wait_for(condition: Callable[[], bool], processes: "list[subprocess.Popen[str]]", seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def images_logged(run: Path) -> int:
    with suppress(OSError, UsageError, IndexError):
        return int(Run.open(run).rows()[-1]["images"])
    return -1


@pytest.mark.long
@pytest.mark.parametrize("dies", [False, True], ids=["cut-off-for-a-while", "lost-and-started-anew"])
def test_two_hosts_train_on_after_one_was_cut_off(
    small: TrainConfig, hosts: tuple[str, str], tmp_path: Path, *, dies: bool
) -> None:
    """The cable is pulled for some seconds, and training goes on where it stood. Where the host behind it has lost its
    processes meanwhile, those of the other are stopped, and both go on from the last checkpoint when started anew.
    """
    settings = small.with_changes(images=4_800, log_every=160, checkpoint_every=160, sample_every=4_800, keep=50)
    (tmp_path / "run.yaml").write_text(write_yaml(settings, {}))
    run, port = tmp_path / "run", PORT + os.getpid() % 1000
    processes = [start(hosts, number, tmp_path, "run", port) for number in range(2)]
    try:
        wait_for(lambda: images_logged(run) >= 480, processes)
        ip("-n", hosts[1], "link", "set", "cable0", "down")
        time.sleep(2)  # what was on its way has come
        stood = images_logged(run)
        assert stood < settings.images
        time.sleep(6)
        assert images_logged(run) == stood, "neither goes on without the other"
        if dies:
            kill_all(hosts[1], processes[1])
        ip("-n", hosts[1], "link", "set", "cable0", "up")
        if dies:
            kill_all(hosts[0], processes[0])
            processes = [start(hosts, number, tmp_path, "run", port + 1) for number in range(2)]
        for process in processes:
            told, _ = process.communicate(timeout=300)
            assert process.returncode == 0, told
    finally:
        for host, process in zip(hosts, processes, strict=True):
            kill_all(host, process)
    rows = Run.open(run).rows()
    assert [row["images"] for row in rows][-1] == settings.images
    resumed = [row for row in Run.open(run).rows("events.jsonl") if row["kind"] == "resumed"]
    assert len(resumed) == dies, "the connection itself outlives the cut"
    one = equipoise.train(settings.with_changes(images=1_600), tmp_path / "one", quiet=True)
    same = {row["images"]: row for row in rows}
    for row in one.rows()[:4]:
        assert same[row["images"]] == pytest.approx(row, rel=1e-3, abs=1e-4)
