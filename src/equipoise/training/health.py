"""What is wrong with a run, said in words: the evidence, why it matters, and what to do.

Every finding is a pure function of the logged rows, so that a resumed run says what an uninterrupted one would.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.config.train_config import TrainConfig
from equipoise.training.symptoms import SYMPTOMS, Row

GRACE = 0.1  # the share of a run in which k and M_global may still find their way
PATIENCE = 0.1  # the share of a run over which a symptom must last
LEAST = 10  # the fewest lines of metrics that make a symptom
COLLAPSED = 0.3  # of the data's mean pairwise distance
FALLEN = 0.5  # of the run's own best diversity


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a short name, the same whenever the same thing is wrong.
        level: whether training can go on.
        message: evidence and remedy, for people.
    """

    kind: str
    level: Literal["warning", "error"]
    message: str


def diagnose(rows: Sequence[Row], config: TrainConfig) -> list[Finding]:
    """All that is wrong after the last of `rows` (lines of metrics.jsonl, oldest first)."""
    recent = _lasting(rows, config)
    shown = ((symptom.kind, symptom.shown_by(recent, LEAST)) for symptom in SYMPTOMS)
    lasting = [Finding(kind, "warning", message) for kind, message in shown if message is not None]
    checks = (_rising, _gap_rising, _collapsed)
    return lasting + [finding for check in checks if (finding := check(rows, config)) is not None]


def not_finite(measures: Mapping[str, float], images: int) -> Finding | None:
    """What to say if any of `measures` is infinite or not a number."""
    bad = [name for name, value in measures.items() if not math.isfinite(value)]
    if not bad:
        return None
    return Finding(
        "not-finite",
        "error",
        f"{', '.join(bad)} stopped being finite before {images:,} images: training has stopped and the last good "
        "checkpoint is kept; try half the learning rate (--lr), a warm-up (--warmup 20k) or --precision fp32",
    )


def _rising(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    name = config.objective.convergence_measure
    found = _risen(rows, config, name, 1.3) if name else None
    if found is None:
        return None
    best, now = found
    return Finding(
        "rising",
        "warning",
        f"{name} has risen to {now:.4g} from its best of {best:.4g}: the run is moving away from convergence; train "
        "again with a lower --lr",
    )


def _gap_rising(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    begun = [row for row in rows if row["images"] > GRACE * config.images]  # a critic's gap begins at 0
    found = _risen(begun, config, "gap", 2.0) if begun else None
    if found is None:
        return None
    best, now = found
    return Finding(
        "gap-rising",
        "warning",
        f"the critic's gap has risen to {now:.4g} from its least of {best:.4g}: real and generated images drift apart "
        "and the generator does not follow; lower --lr, raise --n-critic, or raise the penalty (wgan: lower --clip)",
    )


def _risen(rows: Sequence[Row], config: TrainConfig, name: str, factor: float) -> tuple[float, float] | None:
    """Least and latest mean of a measure over windows of PATIENCE, where the latter is `factor` times the former."""
    recent = [row[name] for row in _lasting(rows, config) if name in row]
    if len(recent) < LEAST:
        return None
    values = [row[name] for row in rows if name in row]
    windows = [sum(part) / len(recent) for part in _chunks(values, len(recent))]
    best, now = min(windows), sum(recent) / len(recent)
    return (best, now) if now > 0 and now >= factor * best else None


def _collapsed(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    seen = [row["diversity"] for row in rows if "diversity" in row]
    if not seen or rows[-1]["images"] < GRACE * config.images:
        return None
    now, best = seen[-1], max(seen)
    if now >= COLLAPSED and now >= FALLEN * best:
        return None
    remedy = (
        "raise --gamma, lower --lr, or raise --match and --pull or shorten --latent (docs/began-in-practice.md)"
        if any("k" in row for row in rows)
        else "lower --lr, take another --seed, or an objective that resists it: ebgan with --pull, dragan, wgan-gp"
    )
    return Finding(
        "collapse",
        "warning",
        f"samples look alike: their mean distance is {now:.2f} of the data's (best so far {best:.2f}); {remedy}",
    )


def _lasting(rows: Sequence[Row], config: TrainConfig) -> Sequence[Row]:
    """The rows of the last PATIENCE of the run, once GRACE is over and there are so many; else none."""
    end = rows[-1]["images"]
    if end < (GRACE + PATIENCE) * config.images:
        return []
    return [row for row in rows if row["images"] > end - PATIENCE * config.images]


def _chunks(values: Sequence[float], size: int) -> list[Sequence[float]]:
    return [values[start : start + size] for start in range(0, len(values) - size + 1, size)]


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
