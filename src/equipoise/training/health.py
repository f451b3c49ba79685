"""What is wrong with a run, in words: the evidence, why it matters, and what to do.

Every finding is a pure function of the logged rows, so that a resumed run says what an uninterrupted one would.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from equipoise.config.train_config import TrainConfig
from equipoise.objectives import BEGAN, Objective
from equipoise.training.symptoms import SYMPTOMS, Row

GRACE = 0.1  # share of a run in which k, M_global and the samples may still find their way
PATIENCE = 0.1  # share of a run over which a symptom must last
FEWEST_ROWS = 10  # lines of metrics that show a rise
RISEN, GAP_RISEN = 1.3, 2.0  # times its best mean, from which on a measure that should fall has risen
SCORES, KID_RISEN = 3, 1.1  # scores in a row, and times their lowest mean, from which on KID has risen beyond its noise
BY_HEART = 1.15  # times the energy of training images that held-out ones have: where KID has risen too, a reason for it
COLLAPSED = 0.3  # of the data's diversity: a warning below it ...
FALLEN = 0.5  # ... or below this share of the run's own best
MAX_ROLLBACKS = 3  # times that a run goes back to a checkpoint and halves its learning rate, before it stops
LOST = 0.25  # of the run's own best diversity: below it at CONFIRMED samples in a row is a sudden collapse
CONFIRMED = 2
STOPPED = "training has stopped and the last good checkpoint is kept"
NEAR = 0.1  # of gamma; lines of runs in balance lie within 0.06 of it


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: a short name, the same whenever the same thing is wrong.
        level: `error` where training cannot go on.
        evidence: what was seen, with its numbers.
        meaning: why it matters.
        remedy: what to do.
    """

    kind: str
    level: Literal["warning", "error"]
    evidence: str
    meaning: str
    remedy: str

    @property
    def message(self) -> str:
        """All of it as one sentence."""
        return f"{self.evidence}: {self.meaning}; {self.remedy}"


def not_finite(values: Mapping[str, float], images: int) -> Finding | None:
    """A finding if any of `values` by name is infinite or not a number, after so many images."""
    names = [name for name, value in values.items() if not math.isfinite(value)]
    if not names:
        return None
    return Finding(
        "not-finite",
        "error",
        f"{', '.join(names)} stopped being finite before {images:,} images",
        STOPPED,
        "try half the learning rate (--lr), a warm-up (--warmup 20k) or --precision fp32",
    )


def in_balance(measures: Mapping[str, float], objective: Objective) -> bool:
    """Whether BEGAN's balance is held; that of no other objective is known.

    With one k: it is within its range, and L(G(z)) / L(x) at gamma but for NEAR of it. With a boundary for each image:
    there are generated images on both sides of it.
    """
    if not isinstance(objective, BEGAN):
        return False
    k, ratio = measures.get("k", 0), measures.get("balance", 0)
    if objective.boundary == "image":
        return 0.01 <= k <= 0.99
    return 0 < k < 1 and abs(ratio - objective.gamma) <= NEAR * objective.gamma


def sudden_collapse(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    """A finding if the generator's images have just become alike, within CONFIRMED * `sample_every` images.

    The first GRACE of a run does not count, in which the images may still find their shape; nor do toys, whose
    collapse is there to be watched.
    """
    samples = _diversities(rows, config)
    latest, before = samples[-CONFIRMED:], samples[:-CONFIRMED]
    if config.toy or not before:
        return None
    now, best = max(value for _, value in latest), max(value for _, value in before)
    if best < COLLAPSED or now >= LOST * best:
        return None
    return Finding(
        "sudden-collapse",
        "error",
        f"the samples have become alike by {latest[0][0]:,} images, at {now:.2f} of the data's mean distance after "
        f"{best:.2f}",
        STOPPED,
        "lower --lr or --lr-ratio, or see what the objective's own page in docs/ says of collapse",
    )


def last_good_images(rows: Sequence[Row], config: TrainConfig, problem: Finding) -> int | None:
    """Images up to which a checkpoint can be trusted; None if all can, as they only ever hold finite numbers."""
    if problem.kind != "sudden-collapse":
        return None
    return _diversities(rows, config)[-CONFIRMED - 1][0]


def kept_before(rows: Sequence[Row], config: TrainConfig) -> list[int]:
    """Images seen, the last checkpoints up to which are needed if the next samples show a sudden collapse."""
    return [] if config.toy else [images for images, _ in _diversities(rows, config)[-CONFIRMED:]]


def diagnose(rows: Sequence[Row], config: TrainConfig) -> list[Finding]:
    """All warnings after the last of `rows` (lines of metrics.jsonl, oldest first).

    What is wrong in the first GRACE of a run may mend itself; it is a warning once it has lasted PATIENCE beyond.
    """
    recent = _recent(rows, config)
    findings = [
        Finding(symptom.kind, "warning", evidence, symptom.means, symptom.remedy)
        for symptom in SYMPTOMS
        if (evidence := symptom.describe(recent)) is not None
    ]

    convergence = config.objective.convergence_measure
    if convergence and (risen := _risen(rows, config, convergence, RISEN)):
        best, now = risen
        evidence = f"{convergence} has risen to {now:.4g} from its best of {best:.4g}"
        meaning = "the run is moving away from convergence"
        findings.append(Finding("rising", "warning", evidence, meaning, "train again with a lower --lr"))

    late = [row for row in rows if row["images"] > GRACE * config.images]  # a critic's gap begins at 0, and rises first
    if late and (risen := _risen(late, config, "gap", GAP_RISEN)):
        best, now = risen
        evidence = f"the critic's gap has risen to {now:.4g} from its least of {best:.4g}"
        meaning = "real and generated images drift apart and the generator does not follow"
        remedy = "lower --lr, raise --n-critic, or raise the penalty (wgan: lower --clip)"
        findings.append(Finding("gap-rising", "warning", evidence, meaning, remedy))

    if recent and (risen_kid := _risen_kid(rows)):
        findings.append(risen_kid)
    if collapse := _collapse(rows, config):
        findings.append(collapse)
    return findings


def _risen_kid(rows: Sequence[Row]) -> Finding | None:
    """A finding if the last SCORES values of KID all lie above those of its best stretch, and well so in the mean."""
    scores = [(row["images"], row["kid"]) for row in rows if math.isfinite(row.get("kid", math.nan))]
    stretches = [scores[start : start + SCORES] for start in range(len(scores) - SCORES + 1)]
    if not stretches:
        return None
    means = [sum(kid for _, kid in stretch) / SCORES for stretch in stretches]
    lowest, now = min(means), means[-1]
    best = stretches[means.index(lowest)]
    apart = min(kid for _, kid in stretches[-1]) > max(kid for _, kid in best)
    if not apart or lowest <= 0 or now < KID_RISEN * lowest:  # about 0, all is noise
        return None
    evidence = f"KID was {lowest:.3g} by {best[-1][0]:,} images and is {now:.3g} now, each of {SCORES} scores"
    meaning, remedy = "samples have become worse since", "end there by --until-converged, or lower --lr"
    held_out_energy = next((row["held_out_energy"] for row in reversed(rows) if "held_out_energy" in row), 1.0)
    if held_out_energy >= BY_HEART:
        evidence += f", and held-out images have {held_out_energy:.2f} times the energy of those that are trained on"
        meaning += ", and the discriminator knows its images by heart"
        remedy = "--augment by translation, bring more images, or end there by --until-converged"
    return Finding("kid-rising", "warning", evidence, meaning, f"take the best checkpoint, as with --best, {remedy}")


def _collapse(rows: Sequence[Row], config: TrainConfig) -> Finding | None:
    """A finding, if all samples of late have been alike."""
    recent = [row["diversity"] for row in _recent(rows, config) if "diversity" in row]
    if not recent:
        return None
    highest, best = max(recent), max(value for _, value in _diversities(rows, config))
    if highest >= max(COLLAPSED, FALLEN * best):
        return None
    remedy = (
        "raise --gamma, lower --lr, or raise --match and --pull or shorten --latent (docs/began-in-practice.md)"
        if any("k" in row for row in rows)
        else "lower --lr, take another --seed, or an objective that resists it: ebgan with --pull, dragan, wgan-gp"
    )
    evidence = f"the samples' mean distance stays at most {highest:.2f} of the data's (best {best:.2f})"
    return Finding("collapse", "warning", evidence, "they look alike", remedy)


def _risen(rows: Sequence[Row], config: TrainConfig, name: str, factor: float) -> tuple[float, float] | None:
    """Least and latest mean of a measure over stretches of PATIENCE, where the latter is `factor` times the former."""
    recent = [row[name] for row in _recent(rows, config) if name in row]
    size = len(recent)
    if size < FEWEST_ROWS:
        return None
    values = [row[name] for row in rows if name in row]
    means = [sum(values[start : start + size]) / size for start in range(0, len(values) - size + 1, size)]
    best, now = min(means), sum(recent) / size
    return (best, now) if now > 0 and now >= factor * best else None


def _recent(rows: Sequence[Row], config: TrainConfig) -> Sequence[Row]:
    """The rows of the last PATIENCE of the run, once GRACE is over and that long has passed since; before, none."""
    end = rows[-1]["images"]
    if end < (GRACE + PATIENCE) * config.images:
        return []
    return [row for row in rows if row["images"] > end - PATIENCE * config.images]


def _diversities(rows: Sequence[Row], config: TrainConfig) -> list[tuple[int, float]]:
    """Images and diversity at every sample after GRACE."""
    start = GRACE * config.images
    return [(row["images"], row["diversity"]) for row in rows if "diversity" in row and row["images"] >= start]
