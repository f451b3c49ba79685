"""The command `equipoise evaluate`: scores of a run's samples, or of any images, beside real ones."""

from pathlib import Path

from tyro.conf import Positional

from equipoise.cli.flags import parse_and_call
from equipoise.config.numbers import Count, CountOrZero, ProcessCount, Seed
from equipoise.devices import Device, is_first_process
from equipoise.errors import UsageError
from equipoise.evaluation.evaluate import evaluate as score
from equipoise.evaluation.request import Split


def main(words: list[str]) -> int:
    """Run `equipoise evaluate` with the arguments `words`; returns the exit code."""
    return parse_and_call(evaluate, words, "evaluate")


def evaluate(
    run: Positional[Path | None] = None,
    images: str | None = None,
    reference: str | None = None,
    features: str = "auto",
    weights: Path | None = None,
    metrics: str | None = None,
    count: Count = 5000,
    split: Split = "held-out",
    resolution: str | None = None,
    crop: CountOrZero | None = None,
    seed: Seed = 0,
    ema: bool = True,
    best: bool = False,
    json: Path | None = None,
    device: Device = "auto",
    devices: ProcessCount = 1,
    quiet: bool = False,
) -> int:
    """Scores of a run's samples beside the images held out from its training, or of any images beside any others.

    Example: equipoise evaluate runs/photos --json scores.json

    Example: equipoise evaluate --images made/ --reference photos/ --resolution 64 --metrics kid,fid

    Args:
        run: Folder of a run.
        images: Run, folder, zip or array to score.
        reference: Images of any kind, or another run, to compare with; by default the run's own data.
        features: Feature extractor: inception, dinov2, effnet-lite0, digits or pixels; auto takes digits for the
            bundled digits, else effnet-lite0 where it is installed.
        weights: File of the extractor's weights, if it is not in the usual place.
        metrics: Names with commas between, or all; by default those that apply, but not reconstruction, a long
            search, nor modes where the classes are not those of the data.
        count: Number of images of each set, at most.
        split: Part of the run's data to compare with.
        resolution: Resolution to which images are brought that are no run's; by default they must be of one size.
        crop: Side in pixels of the centred square that is taken first of images that are no run's, 0 for none; by
            default as the run does that they are compared with.
        seed: Seed of the samples, and of every random choice.
        ema: Use the moving average of the generator's weights.
        best: Use the checkpoint with the best KID (train with --score-every), not the last.
        json: File for the scores and their protocol, for `equipoise compare`.
        device: Device to compute on.
        devices: Number of processes that share the images.
        quiet: Show no progress.
    """
    if (run is None) == (images is None):
        raise UsageError("give a run's folder, or --images and --reference: `equipoise evaluate --help` shows both")
    names = None if metrics is None else tuple(name.strip() for name in metrics.split(",") if name.strip())
    scores = score(
        str(run or images),
        reference,
        device=device,
        devices=devices,
        quiet=quiet,
        features=features,
        weights=weights,
        metrics=names,
        count=count,
        split=split,
        resolution=resolution,
        crop=crop,
        seed=seed,
        ema=ema,
        best=best,
    )
    if not is_first_process():  # of the processes that torchrun has started, one prints
        return 0
    print(scores)
    if json is not None:
        scores.write(json)
        print(f"scores: {json}")
    return 0
