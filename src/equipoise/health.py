"""What is wrong with a run, said in words: the evidence, why it matters, and what to do.

Every finding is a pure function of the logged rows, so that a resumed run says what an uninterrupted one would.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from equipoise.config import TrainConfig
from equipoise.symptoms import SYMPTOMS, Row

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


def diversity(images: Tensor) -> float:
    """Mean distance between two different images of (N, C, H, W), root mean square over their values; N >= 2."""
    flat = images.flatten(1).double()
    distances = torch.cdist(flat, flat, compute_mode="donot_use_mm_for_euclid_dist")
    count = len(flat)
    return float(distances.sum() / (count * (count - 1)) / math.sqrt(flat.shape[1]))


def _rising(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    name = config.objective.convergence
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
