"""Reference values of the objectives' losses, in plain Python on lists of numbers, for linear players.

The discriminator's score of a point x is s = w.x + b, or as an energy s^2, and its code is C x; the generator's output
is A z. Nothing is taken from the objectives but their hyper-parameters. A case is optional: the other tests of the
family run on every objective.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, product
from typing import Any

Rows = Sequence[Sequence[float]]

W, B = (0.8, -0.5), 0.3
C = ((1.0, 0.5), (-0.25, 2.0))
A = ((0.9, 0.2), (-0.4, 0.7))
REAL = ((0.5, -0.2), (0.1, 0.9), (-0.7, 0.3), (1.0, 1.0))
LATENT = ((0.3, -0.6), (0.8, 0.1), (-0.5, -0.9), (0.2, 0.4))


def softplus(s: float) -> float:
    return math.log(1 + math.exp(s))


def sigmoid(s: float) -> float:
    return 1 / (1 + math.exp(-s))


def mean(values: Any) -> float:
    values = list(values)
    return sum(values) / len(values)


def dot(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(u * v for u, v in zip(a, b, strict=True))


def times(matrix: Rows, x: Sequence[float]) -> tuple[float, ...]:
    return tuple(dot(row, x) for row in matrix)


def score(x: Sequence[float]) -> float:
    return dot(W, x) + B


def energy(x: Sequence[float]) -> float:
    return score(x) ** 2


FAKE = tuple(times(A, z) for z in LATENT)
GRADIENT_NORM = math.hypot(*W)  # of s, everywhere


@dataclass(frozen=True)
class Case:
    """Reference values of an objective's losses.

    Attributes:
        d_loss, g_loss: functions of the draws, lists by purpose.
        settings: hyper-parameters that turn on what the defaults leave out.
        state: values that replace those of the initial state.
    """

    d_loss: Callable[[dict[str, Any]], float]
    g_loss: Callable[[dict[str, Any]], float]
    settings: dict[str, Any] = field(default_factory=dict)
    state: dict[str, float] = field(default_factory=dict)


def cross_entropy(_: Any = None) -> float:
    return mean(softplus(-score(x)) for x in REAL) + mean(softplus(score(x)) for x in FAKE)


def non_saturating(_: Any = None) -> float:
    return mean(softplus(-score(x)) for x in FAKE)


def gap(_: Any = None) -> float:
    return mean(map(score, REAL)) - mean(map(score, FAKE))


def finite_differences(draws: dict[str, Any]) -> float:
    """The finite differences of a linear critic are w.e."""
    slopes = [math.sqrt(mean(dot(W, e) ** 2 for e in image)) for image in draws["probes"]]
    return mean((slope - 1) ** 2 for slope in slopes)


def pulling_away(points: Rows) -> float:
    """Mean squared cosine of the codes of different points."""
    codes = [times(C, x) for x in points]
    pairs = list(combinations(codes, 2))
    return mean((dot(a, b) / (math.hypot(*a) * math.hypot(*b))) ** 2 for a, b in pairs)


def energy_distance(points: Rows, latents: Rows) -> float:
    """Energy distance of the codes from the latents, over the root of their length."""
    codes, count = [times(C, x) for x in points], len(points)
    across = mean(math.dist(a, b) for a, b in product(codes, latents))
    within = sum(math.dist(*pair) for rows in (codes, latents) for pair in combinations(rows, 2))
    return (2 * across - 2 * within / (count * (count - 1))) / math.sqrt(2)


def margin_loss(margin: float) -> float:
    return mean(map(energy, REAL)) + mean(max(0.0, margin - energy(x)) for x in FAKE)


def loss_sensitive(tau: float) -> float:
    violations = [
        tau * mean(abs(u - v) for u, v in zip(x, y, strict=True)) + max(0.0, score(x)) - max(0.0, score(y))
        for x, y in zip(REAL, FAKE, strict=True)
    ]
    return mean(max(0.0, v) for v in violations)


def boundary_d(draws: dict[str, Any]) -> float:
    l_r, l_f = mean(softplus(-score(x)) for x in REAL), mean(softplus(score(x)) for x in FAKE)
    l_f -= mean(math.dist(x, y) for x, y in zip(REAL, FAKE, strict=True)) / math.sqrt(2) / 10
    weights = 1e-4 / 2 * (dot(W, W) + B * B)
    slope = mean(boundary(x, u, W) for x, u in zip(REAL, draws["boundary of real images"], strict=True))
    return l_f + 0.5 * max(0.0, l_r - l_f) + weights + 0.1 * slope


def boundary_g(draws: dict[str, Any]) -> float:
    in_z = [sum(W[i] * A[i][j] for i in range(2)) for j in range(2)]
    slope = mean(boundary(x, u, in_z) for x, u in zip(FAKE, draws["boundary of fake images"], strict=True))
    return non_saturating() + 0.1 * slope


def boundary(x: Sequence[float], uniform: Sequence[float], direction: Sequence[float]) -> float:
    s = score([value + 0.05 * (2 * u - 1) for value, u in zip(x, uniform, strict=True)])
    return softplus(-s) * sigmoid(s) * (1 - sigmoid(s)) * max(map(abs, direction))


LOG_PROB = (-1.0, -2.5, -0.7, -3.0)  # two images of each of two latents


def importance_weighted(_: Any = None) -> float:
    """Log-probabilities, weighted by each image's share of exp s among those of its latent."""
    loss = 0.0
    for first in (0, 2):
        shares = [math.exp(score(x)) for x in FAKE[first : first + 2]]
        loss -= dot([share / sum(shares) for share in shares], LOG_PROB[first : first + 2]) / 2
    return loss


CASES = {
    "gan": Case(cross_entropy, non_saturating),
    "least-squares": Case(
        lambda _: mean((score(x) - 1) ** 2 for x in REAL) / 2 + mean(score(x) ** 2 for x in FAKE) / 2,
        lambda _: mean((score(x) - 1) ** 2 for x in FAKE) / 2,
    ),
    "wgan": Case(lambda _: -gap(), lambda _: -mean(map(score, FAKE))),
    "wgan-gp": Case(lambda _: -gap() + 10 * (GRADIENT_NORM - 1) ** 2, lambda _: -mean(map(score, FAKE))),
    "wgan-fd": Case(lambda draws: -gap() + 10 * finite_differences(draws), lambda _: -mean(map(score, FAKE))),
    "dragan": Case(lambda _: cross_entropy() + 10 * (GRADIENT_NORM - 1) ** 2, non_saturating),
    "ebgan": Case(
        lambda _: margin_loss(1.0),
        lambda _: mean(map(energy, FAKE)) + 0.1 * pulling_away(FAKE),
        {"pull": 0.1, "margin": 1.0},
    ),
    "magan": Case(lambda _: margin_loss(0.4), lambda _: mean(map(energy, FAKE)), state={"margin": 0.4, "left": 0.0}),
    "ls-gan": Case(lambda _: loss_sensitive(2.4576), lambda _: mean(max(0.0, score(x)) for x in FAKE)),
    "began": Case(
        lambda _: margin_loss(mean(map(energy, REAL))) + 0.1 * energy_distance(REAL, LATENT),
        lambda _: mean(map(energy, FAKE)) + 0.1 * pulling_away(FAKE),
        {"match": 0.1, "pull": 0.1},
    ),
    "bgan": Case(cross_entropy, lambda _: mean((score(x) - 0.2) ** 2 for x in FAKE) / 2, state={"log_z": 0.2}),
    "bgan-discrete": Case(cross_entropy, importance_weighted, {"samples": 2}),
    "bc-gan": Case(boundary_d, boundary_g),
}
