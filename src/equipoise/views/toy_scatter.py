"""Pictures of toy runs: generated points over those of the data, D's landscape behind, and the modes reached."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from equipoise.data import Toy
from equipoise.metrics import Truth, point_figures
from equipoise.objectives import Objective
from equipoise.views.figures import INK, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = 1_500  # points of each kind in a picture
SIDE = 512  # pixels of a picture
ACROSS = 120  # points a side at which the discriminator is evaluated
LEVELS = 14  # steps of its landscape
CLIPPED = 0.02  # share of the landscape beyond each end of its colours


Score = Callable[[Tensor], Tensor]
"""Points (N, 2) to a score of each, (N,): the higher, the more real it looks."""


def toy_distribution(toy: Toy) -> Truth:
    """The distribution that a toy's points follow."""
    return Truth(torch.from_numpy(toy.centres), toy.sigma, toy.modal)


def toy_measures(toy: Toy, points: Tensor) -> dict[str, float]:
    """The share of points (N, 2) within 3 sigma of a centre; of a toy with modes also how many they reach, and spread.

    Returns:
        `in_modes`, `modes` and `spread`; nothing where a point is not finite.
    """
    if not torch.isfinite(points).all():
        return {}
    figures = point_figures(points, toy_distribution(toy))
    return {name.replace("-", "_"): figure["value"] for name, figure in figures.items()}


def realness_score(discriminator: nn.Module, objective: Objective) -> Score:
    """A discriminator's score as a landscape's height: negated where it is lower for real ones, as energies are."""

    @torch.no_grad()
    def score(points: Tensor) -> Tensor:
        weight = next(discriminator.parameters())
        training = discriminator.training
        heights: Tensor = discriminator.eval()(points.to(weight.device, weight.dtype).view(-1, 2, 1, 1)).score
        discriminator.train(training)
        return -heights if objective.lower_is_real else heights

    return score


def toy_scatter(toy: Toy, points: Tensor, score: Score | None = None) -> Image.Image:
    """Draw generated points (N, 2) over a toy's held-out ones, with their measures in words."""
    measures = toy_measures(toy, points)
    words = [f"{measures['modes']:.0f} of {len(toy.centres)} modes"] if "modes" in measures else []
    words += [f"{100 * measures['in_modes']:.0f} % within 3 sigma"] if measures else []
    return scatter(points[:DRAWN], toy.held_out(DRAWN), extent=toy.extent, score=score, caption=", ".join(words))


def lattice(extent: float, across: int = ACROSS) -> Tensor:
    """The points of a square lattice over [-extent, extent]²: (across², 2) float32, x running fastest."""
    steps = torch.linspace(-extent, extent, across)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def scatter(
    samples: Tensor,
    data: Tensor,
    *,
    extent: float,
    score: Score | None = None,
    caption: str = "",
    side: int = SIDE,
) -> Image.Image:
    """Draw generated points (vermilion) over points of the data (dark).

    Args:
        samples: (N, 2).
        data: (M, 2).
        extent: half the side of the square that is shown, about the origin; points beyond it are not.
        score: points (K, 2) -> (K,), higher where they look real: drawn as a landscape behind, the lighter the higher.
        caption: a few words below.
        side: pixels of the square picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(side / 100, side / 100), dpi=100, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    draw_scatter(figure.add_axes((0, 0, 1, 1)), samples, data, extent=extent, score=score, caption=caption)
    canvas.draw()  # type: ignore[no-untyped-call]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])  # type: ignore[no-untyped-call]


def draw_scatter(
    axes: "Axes",
    samples: Tensor,
    data: Tensor,
    *,
    extent: float,
    score: Score | None = None,
    caption: str = "",
) -> None:
    """Draw what `scatter` does into `axes`, for a sheet of several."""
    if score is not None:
        _landscape(axes, score, extent)
    for points, colour, size, alpha in ((data, INK, 7, 0.35), (samples, VERMILION, 5, 0.75)):
        x, y = points.detach().cpu().double().numpy().T
        axes.scatter(x, y, color=colour, s=size, alpha=alpha, linewidths=0)
    axes.set(xlim=(-extent, extent), ylim=(-extent, extent), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if caption:
        box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "boxstyle": "round,pad=0.3"}
        axes.text(0.02, 0.02, caption, transform=axes.transAxes, size=9, color=INK, bbox=box)


def _landscape(axes: "Axes", score: Score, extent: float) -> None:
    """Filled contours between the lowest and the highest scores but a few; nothing where all are equal."""
    from matplotlib.colors import LinearSegmentedColormap

    values = score(lattice(extent)).detach().cpu().double().view(ACROSS, ACROSS).numpy()
    low, high = np.quantile(np.nan_to_num(values), [CLIPPED, 1 - CLIPPED])
    if not np.isfinite(values).all() or high - low <= 1e-9 * max(abs(low), abs(high)):
        return
    steps = np.linspace(-extent, extent, ACROSS)
    # From a soft blue (looks generated) to white (looks real): points of any colour stand out on it.
    colours = LinearSegmentedColormap.from_list("landscape", ["#7fa6c9", "#b9d0e3", "#e9f0f5", "#fffdf6"])
    axes.contourf(steps, steps, values, levels=np.linspace(low, high, LEVELS + 1), cmap=colours, extend="both")
