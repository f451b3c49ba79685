"""When training has gone wrong for good, and which checkpoint was still well."""

from collections.abc import Sequence

from equipoise.config import TrainConfig
from equipoise.health import COLLAPSED, GRACE, Finding
from equipoise.symptoms import Row

MOST_CUTS = 3  # times that a run goes back and halves its learning rate, before it stops
LOST = 0.25  # of the run's own best diversity: fewer at CONFIRMED samples in a row is a collapse
CONFIRMED = 2


def sudden_collapse(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    """What to say if the generator's images have just become alike, within CONFIRMED * `sample_every` images.

    The first GRACE of a run does not count, in which the images may still find their shape; nor do toys, whose
    collapse is there to be watched.
    """
    seen = _judged(rows, config)
    now, before = seen[-CONFIRMED:], seen[:-CONFIRMED]
    if config.toy or not before:
        return None
    (start, latest), best = (now[0][0], max(value for _, value in now)), max(value for _, value in before)
    if best < COLLAPSED or latest >= LOST * best:
        return None
    return Finding(
        "sudden-collapse",
        "error",
        f"the samples have become alike by {start:,} images, at {latest:.2f} of the data's mean distance after "
        f"{best:.2f}: training has stopped and the last good checkpoint is kept; lower --lr or --lr-ratio, or see what "
        "the objective's own page in docs/ says of collapse",
    )


def well_until(rows: Sequence[Row], config: TrainConfig, bad: Finding) -> int | None:
    """Images up to which a checkpoint can be trusted; None if every one can, as they hold finite numbers only."""
    if bad.kind != "sudden-collapse":
        return None
    return _judged(rows, config)[-CONFIRMED - 1][0]


def _judged(rows: Sequence[Row], config: TrainConfig) -> list[tuple[int, float]]:
    """Images and diversity at every sample that counts."""
    start = GRACE * config.images
    return [(row["images"], row["diversity"]) for row in rows if "diversity" in row and row["images"] >= start]
