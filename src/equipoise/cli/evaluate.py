"""The command `equipoise evaluate`: scores of a run's samples, or of any images, beside real ones."""

from dataclasses import asdict
from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call, plain_dataclass
from equipoise.config.messages import construct
from equipoise.config.numbers import ProcessCount
from equipoise.devices import Device, is_first_process
from equipoise.errors import UsageError
from equipoise.evaluation.evaluate import score
from equipoise.evaluation.request import Request, Settings
from equipoise.runs.files import check_place
from equipoise.sampling.pictures import check_spared

DEFAULTS = plain_dataclass(Settings())


def main(words: list[str]) -> int:
    """Run `equipoise evaluate` with the arguments `words`; returns the exit code."""
    return parse_and_call(evaluate, words, "evaluate")


def evaluate(
    run: Positional[Path | None] = None,
    images: str | None = None,
    reference: str | None = None,
    settings: type(DEFAULTS) = DEFAULTS,  # type: ignore[valid-type]  # each field is a flag
    json: Path | None = None,
    device: Device = "auto",
    devices: ProcessCount = 1,
    quiet: bool = False,
) -> int:
    """Scores of a run's samples beside the images held out from its training, or of any images beside any others.

    Example: equipoise evaluate runs/photos --json scores.json

    Example: equipoise evaluate runs/photos --features dinov2-vitl14 --metrics fid,vendi,authenticity --draws 5

    Example: equipoise evaluate runs/photos --suspects copies.png

    Example: equipoise evaluate --images made/ --reference photos/ --resolution 64 --metrics kid,fid

    Args:
        run: Folder of a run.
        images: Run, folder, zip or array to score.
        reference: Images of any kind, or another run, to compare with; by default the run's own data.
        settings: How they are scored.
        json: File for the scores and their protocol, for `equipoise compare`.
        device: Device to compute on.
        devices: Number of processes that share the images.
        quiet: Show no progress.
    """
    if (run is None) == (images is None):
        raise UsageError("give a run's folder, or --images and --reference: `equipoise evaluate --help` shows both")
    check_place(json, settings.suspects)
    request = construct(Request, {"images": str(run or images), "reference": reference, **asdict(settings)})
    if json is not None:
        check_spared(json, request.files)
    scores = score(request, device=device, devices=devices, quiet=quiet)
    if not is_first_process():  # of the processes that torchrun has started, one prints
        return 0
    print(scores)
    if settings.suspects is not None:
        print(f"suspects: {settings.suspects}")
    if json is not None:
        scores.write(json)
        print(f"scores: {json}")
    return 0
