"""What is measured while training: how each measure is called on a screen, in a report and in a picture.

A measure that is not named here is shown by its own name; one file of an objective is enough.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Measure(NamedTuple):
    """The names of one measure."""

    symbol: str
    """As short as a terminal needs it; without Unicode, `ℒ` becomes `L`."""
    label: str
    """In words, for a report; HTML."""
    note: str = ""
    """What to compare it with."""
    maths: str = ""
    """In mathtext, for a picture; by default the symbol."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes: measures that belong together, and how to show them."""

    title: str
    unit: str = ""
    lines: Mapping[str, Measure]
    """By the names they have in the run's metrics."""
    limits: tuple[float, float | None] | None = None
    """Lowest and highest value shown; by default those there are."""
    ideal: float | None = None
    """Where theory wants the measure, drawn dashed."""
    steps: bool = False
    """A quantity that stays, then jumps: drawn so, and left out while it has never changed."""


REAL, FAKE = r"$\mathcal{L}(x)$", r"$\mathcal{L}(G(z))$"
SHARE, POSITIVE = (0.0, 1.0), (0.0, None)


def _pair(stem: str, symbol: str, label: str, note: str = "", maths: str = "") -> dict[str, Measure]:
    """One measure of real images and of generated ones; `{}` stands for x and for G(z)."""
    return {
        f"{stem}_{side}": Measure(
            symbol.replace("{}", of), f"{label} of {images} images", note, maths.replace("{}", of)
        )
        for side, of, images in (("real", "x", "real"), ("fake", "G(z)", "generated"))
    }


def _task(task: str, doing: str) -> tuple[Panel, ...]:
    """Loss, accuracy and gradient norm of an auxiliary task."""
    return (
        Panel(
            title=f"{doing}: loss",
            unit="cross entropy, nats",
            lines=_pair(f"{task}_loss", f"{task} loss {{}}", f"loss of {doing.lower()}", "", "loss of {}"),
            limits=POSITIVE,
        ),
        Panel(
            title=f"{doing}: accuracy",
            unit="share of images",
            lines=_pair(f"{task}_accuracy", f"{task} {{}}", f"accuracy of {doing.lower()}", "", "accuracy on {}"),
            limits=SHARE,
        ),
        Panel(
            title=f"{doing}: gradient",
            unit="mean norm in the logits",
            lines=_pair(
                f"{task}_gradient", f"{task} gradient {{}}", f"gradient norm of {doing.lower()}", "", "gradient at {}"
            ),
            limits=POSITIVE,
        ),
    )


PANELS = (
    Panel(
        title="Energies",
        unit="mean error",
        lines=_pair("energy", "ℒ({})", "energy", "", r"$\mathcal{L}({})$"),
        limits=POSITIVE,
    ),
    Panel(title="Losses of images", lines=_pair("loss", "L({})", "loss function", "a real image's is the smaller")),
    Panel(title="Scores", unit="what the discriminator gives", lines=_pair("score", "score({})", "mean score")),
    Panel(
        title="Probability of being real",
        lines=_pair("probability", "D({})", "probability", "½ at equilibrium"),
        limits=SHARE,
        ideal=0.5,
    ),
    Panel(
        title="Equilibrium term",
        unit="weight, or share, of samples",
        lines={"k": Measure("k", "equilibrium term k", "inside 0 and 1 while in balance", "$k$")},
        limits=SHARE,
    ),
    Panel(
        title="Convergence",
        unit="mean error",
        lines={"m_global": Measure("M_global", "M<sub>global</sub>", "falls as training converges", r"$M_{global}$")},
        limits=POSITIVE,
    ),
    Panel(
        title="Gap between real and generated",
        unit="critic's values",
        lines={"gap": Measure("gap", "critic's gap E c(x) − E c(G(z))", "rises at first, then falls")},
    ),
    Panel(
        title="Balance",
        unit=f"{FAKE} / {REAL}",
        lines={"balance": Measure("balance", "balance ℒ(G(z)) / ℒ(x)")},
        limits=POSITIVE,
    ),
    Panel(title="Margin", lines={"margin": Measure("margin", "margin")}, limits=POSITIVE),
    Panel(
        title="Hinges at work",
        unit="share of generated images",
        lines={"hinge_active": Measure("hinge", "hinges at work", "0 for long: nothing left to learn")},
        limits=SHARE,
    ),
    Panel(
        title="Accuracy of the discriminator",
        unit="share of images",
        lines={"accuracy": Measure("accuracy", "accuracy of the discriminator", "½ at equilibrium")},
        limits=SHARE,
        ideal=0.5,
    ),
    Panel(
        title="Losses of the players",
        lines={
            "loss_discriminator": Measure("L_D", "discriminator's loss", "", "$L_D$"),
            "loss_generator": Measure("L_G", "generator's loss", "no measure of quality", "$L_G$"),
        },
    ),
    Panel(
        title="Slope of the discriminator",
        unit="mean gradient norm",
        lines={"gradient_norm": Measure("slope", "slope of the discriminator")},
        limits=POSITIVE,
    ),
    Panel(
        title="Constraint at the boundary",
        lines=_pair("boundary", "B({})", "boundary's slope", "", "B({})"),
        limits=POSITIVE,
    ),
    Panel(
        title="Real images count",
        unit="share of steps",
        lines={"mixing_active": Measure("mixing", "steps in which real images count")},
        limits=SHARE,
    ),
    Panel(
        title="Effective sample size",
        unit="images of each latent",
        lines={"effective_sample_size": Measure("ESS", "effective sample size", "1: one image carries all weight")},
        limits=POSITIVE,
    ),
    Panel(
        title="Importance weights",
        unit="nats",
        lines={
            "log_z": Measure("log Z", "moving log Z", "", r"$\log Z$"),
            "log_mean_weight": Measure("log mean w", "log of the batch's mean weight", "", "of the batch"),
        },
    ),
    Panel(
        title="Spread of the weights",
        unit="variance of log w",
        lines={"log_weight_variance": Measure("var log w", "variance of log weights", "falls to 0")},
        limits=POSITIVE,
    ),
    Panel(
        title="Likeness of codes",
        unit="mean squared cosine",
        lines={"pulling_away": Measure("pulling away", "likeness of generated images' codes", "1: all alike")},
        limits=SHARE,
    ),
    Panel(
        title="Codes and latents",
        unit="energy distance",
        lines={"code_distance": Measure("code distance", "distance of codes from latents", "falls to 0")},
    ),
    Panel(
        title="Recovery of latents",
        unit="mean squared error",
        lines={"recovery": Measure("recovery", "error of latents read back")},
        limits=POSITIVE,
    ),
    *_task("classify", "Classes"),
    *_task("rotate", "Rotations"),
    Panel(
        title="Inpainting",
        unit="squared error where hidden",
        lines={"inpaint_loss": Measure("inpaint loss", "error of what was filled in")},
        limits=POSITIVE,
    ),
    Panel(
        title="Inpainting: gradient",
        unit="mean norm in the pixels",
        lines={"inpaint_gradient": Measure("inpaint gradient", "gradient norm of filling in")},
        limits=POSITIVE,
    ),
    Panel(
        title="Diversity of samples",
        unit="distance, samples / data",
        lines={"diversity": Measure("diversity", "diversity of the samples", "ideal 1")},
        limits=POSITIVE,
        ideal=1.0,
    ),
    Panel(
        title="Fine detail of samples",
        unit="finest octave, samples / data",
        lines={"detail": Measure("detail", "fine detail of the samples", "1: as sharp as the data")},
        limits=POSITIVE,
        ideal=1.0,
    ),
    Panel(
        title="Grain of samples",
        unit="even detail, samples − data",
        lines={"grain": Measure("grain", "grain of the samples", "0: as little as in the data")},
        ideal=0.0,
    ),
    Panel(
        title="Clusters reached by samples",
        unit="share of the data",
        lines={"clusters": Measure("clusters", "share of the data in clusters that samples reach", "ideal 1")},
        limits=SHARE,
        ideal=1.0,
    ),
    Panel(
        title="Energy of held-out images",
        unit="held-out / trained on",
        lines={"held_out_energy": Measure("ℒ(held-out)/ℒ(x)", "energy of held-out images", "1: nothing by heart")},
        ideal=1.0,
    ),
    Panel(
        title="KID of samples beside held-out images",
        unit="squared distance",
        lines={"kid": Measure("KID", "KID of the samples", "falls to 0")},
    ),
    Panel(
        title="Spread of KID over subsets",
        unit="squared distance",
        lines={"kid_spread": Measure("spread of KID", "spread of KID over subsets", "", "spread")},
    ),
    Panel(
        title="Learning rate",
        unit="step size",
        lines={"lr": Measure("learning rate", "learning rate", "", "rate")},
        limits=POSITIVE,
        steps=True,
    ),
)
MEASURES = {name: measure for panel in PANELS for name, measure in panel.lines.items()}
"""Every known measure, in order of display."""
