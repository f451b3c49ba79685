"""Symptoms of trouble in any objective's measures: where one must not stay, what that means, and what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """A measure that stays at one end of its range.

    Attributes:
        kind: a short name.
        measure: that must not stay there.
        above: where it must not stay above ...
        below: ... or below; one of the two is given.
        beside: measures of the runs that this concerns, each within (lowest, highest).
        without: measures of runs that this does not concern.
        lines: with the measure that make a symptom; one of samples averages hundreds of images, and is enough.
        means: what it means, after the evidence.
        remedy: what to do.
    """

    kind: str
    measure: str
    above: float | None = None
    below: float | None = None
    beside: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    without: frozenset[str] = frozenset()
    lines: int = 10
    means: str
    remedy: str

    def describe(self, rows: Sequence[Row]) -> str | None:
        """The evidence, if at least `lines` of `rows` have the measure and all of them show the symptom."""
        measured = [row for row in rows if self.measure in row]
        for row in measured:
            in_range = all(name in row and low <= row[name] <= high for name, (low, high) in self.beside.items())
            if not in_range or self.without & row.keys():
                return None  # a run that this does not concern
        if len(measured) < self.lines:
            return None
        values = [row[self.measure] for row in measured]
        if self.above is not None and min(values) > self.above:
            evidence = f"at least {min(values):.4g}"
        elif self.below is not None and max(values) < self.below:
            evidence = f"at most {max(values):.4g}"
        else:
            return None
        lines = f"the last {len(measured)} lines" if len(measured) > 1 else "the last line"
        return f"{self.measure} stays {evidence} over {lines}"


ANY: tuple[float, float] = (float("-inf"), float("inf"))

SYMPTOMS = (
    Symptom(
        kind="k-at-0",
        measure="k",
        below=1e-3,
        means="the energy of generated images stays above gamma times that of real ones, so the discriminator only "
        "autoencodes and nothing holds the generator to the data",
        remedy="raise --gamma, lower the generator's extra terms, or train longer",
    ),
    Symptom(
        kind="k-at-1",
        measure="k",
        above=0.999,
        means="generated images stay too easy to reconstruct and the balance is lost, collapse is near",
        remedy="lower --gamma or --lr",
    ),
    Symptom(
        kind="discriminator-wins",
        measure="accuracy",
        above=0.98,
        means="the discriminator tells nearly every image, so its verdict hardly changes with what the generator does",
        remedy="lower --lr, raise --lr-ratio, narrow the discriminator, or use dragan or wgan-gp",
    ),
    Symptom(
        kind="hinge-off",
        measure="hinge_active",
        below=0.01,
        beside={"energy_fake": ANY, "margin": (1e-12, float("inf"))},
        means="generated images lie above the margin, so the discriminator only autoencodes and learns nothing from "
        "them",
        remedy="raise --margin (magan: raise --pretrain, or take ebgan), or lower --lr",
    ),
    Symptom(
        kind="margins-kept",
        measure="hinge_active",
        below=0.01,
        beside={"loss_fake": ANY},
        means="every margin is kept, so the discriminator no longer learns",
        remedy="raise --tau, give --nu a value above 0, or lower --lr",
    ),
    Symptom(
        kind="hinge-on",
        measure="hinge_active",
        above=0.99,
        beside={"balance": (3, float("inf"))},
        without=frozenset({"k"}),
        means="the margin is out of reach while generated images have several times the energy of real ones, so the "
        "discriminator spends itself on reconstructing them badly",
        remedy="lower --margin to a few times energy_real",
    ),
    Symptom(
        kind="generator-wins",
        measure="balance",
        below=0.5,
        beside={"hinge_active": ANY},
        means="generated images are twice as easy to reconstruct as real ones: the generator paints easy images, "
        "collapse is near",
        remedy="lower --lr-ratio, or raise --pull and --margin (ebgan)",
    ),
    Symptom(
        kind="no-margin",
        measure="margin",
        below=1e-12,
        beside={"energy_real": ANY},
        means="the discriminator is still pretraining and the generator has not moved",
        remedy="lower --pretrain or raise --images",
    ),
    Symptom(
        kind="dead-loss",
        measure="loss_fake",
        below=1e-12,
        beside={"loss_real": (0, 1e-12)},
        means="the discriminator's last ReLU gives 0 for every image and passes no gradient on",
        remedy="train again with another --seed or with --no-relu",
    ),
    Symptom(
        kind="weights-degenerate",
        measure="effective_sample_size",
        below=1.5,
        means="one image of each latent carries all of the weight, so the generator only copies it",
        remedy="lower --lr, raise --samples, or narrow the discriminator",
    ),
    Symptom(
        kind="codes-alike",
        measure="pulling_away",
        above=0.9,
        means="the codes of generated images point one way: they are nearly one image",
        remedy="raise --pull or lower --lr",
    ),
    Symptom(
        kind="reals-ignored",
        measure="mixing_active",
        below=1e-3,
        means="real images no longer count in the discriminator's loss",
        remedy="lower --distance-scale",
    ),
    Symptom(
        kind="grain",
        measure="grain",
        above=0.3,
        beside={"detail": (0.4, float("inf"))},  # in what is blurred, grain is too faint to be seen
        lines=1,
        means="of the samples' finest detail, by that much a larger share than of the data's is spread evenly over "
        "the image: they are grainy",
        remedy="lower --gamma where there is one, lower --lr, raise --ema, or train longer",
    ),
    Symptom(
        kind="harsh-detail",
        measure="detail",
        above=1.5,
        beside={"grain": (float("-inf"), 0.3)},
        lines=1,
        means="samples have that many times the data's share of power in the finest octave of the spectrum: broken "
        "edges, a pattern of checks, or more of the data's own grain",
        remedy="lower --lr, raise --ema, or train longer",
    ),
    Symptom(
        kind="blur",
        measure="detail",
        below=0.4,
        lines=1,
        means="samples have no more than that of the data's share of power in the finest octave of the spectrum: they "
        "are blurred",
        remedy="train longer, raise --gamma where there is one, or widen the networks with --width",
    ),
    Symptom(
        kind="missing-clusters",
        measure="clusters",
        below=0.97,
        lines=1,
        means="the rest of the data lies in clusters which the samples hardly reach, so whole kinds of images are "
        "missing",
        remedy="train longer, --augment few images by translation, raise --pull, --match or --gamma if there is one, "
        "lower --lr, or take another --seed",
    ),
)
"""Everything that is wrong where a measure stays there; what a single line shows is no symptom."""
