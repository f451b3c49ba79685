"""What one server is told, and the bounds of everything that it does for others."""

from dataclasses import dataclass, field
from pathlib import Path

from equipoise.devices import Device


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a server takes on at most; beyond it, it refuses in words.

    Attributes:
        answer_seconds: within which there is an answer or a refusal.
        images: of one request.
        queued: requests that wait for a generator.
        background: pieces of slow work that wait.
        models, model_bytes: generators that are kept, and the memory of their weights.
        results, result_bytes: the same of players, encoders, directions and training images.
        body_bytes, upload_bytes: of a request, in JSON or with a picture.
        upload_pixels: of a picture that is decoded.
        request_seconds: in which a request must have arrived.
        stalled_seconds: for which a client may take nothing of its answer.
        connections: at once.
        watchers: streams of events at once.
        requests_per_second, burst: of one client.
        logins_per_minute: that fail, of all clients together.
        toys, toy_idle_seconds, toy_steps: sessions in the plane, their life without a step, steps of one request.
        train_images, train_minutes: of a run that is started from the page.
        shutdown_seconds: for what is in flight when the server is told to end.
    """

    answer_seconds: float = 1.0
    images: int = 64
    queued: int = 64
    background: int = 8
    models: int = 6
    model_bytes: int = 2**31
    results: int = 64
    result_bytes: int = 2**30
    body_bytes: int = 2**19
    upload_bytes: int = 10 * 2**20
    upload_pixels: int = 25_000_000
    request_seconds: float = 15.0
    stalled_seconds: float = 30.0
    connections: int = 256
    watchers: int = 64
    requests_per_second: float = 50.0
    burst: int = 300
    logins_per_minute: float = 10.0
    toys: int = 8
    toy_idle_seconds: float = 600.0
    toy_steps: int = 200
    train_images: int = 2_000_000
    train_minutes: float = 60.0
    shutdown_seconds: float = 10.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one server is told.

    Attributes:
        paths: runs, and folders of runs.
        token: without which nobody is let in; None where the server is for this machine alone.
        names: of hosts by which it may be called, beside this machine's own and addresses in numbers.
        allow_train: whether runs may be started.
        train_data: folder whose folders and files of images may be trained on, beside bundled data.
        device: where to compute.
        batched: whether requests share the generator's passes; for measurements.
        limits: of everything.
    """

    paths: tuple[Path, ...]
    token: str | None = None
    names: tuple[str, ...] = ()
    allow_train: bool = False
    train_data: Path | None = None
    device: Device = "auto"
    batched: bool = True
    limits: Limits = field(default_factory=Limits)
