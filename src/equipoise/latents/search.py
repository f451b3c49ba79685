"""Search for the latent of which a generator makes an image: Adam on the latent (BEGAN's paper, section 4.2)."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam

from equipoise.randomness import Prior

Loss = Callable[[Tensor, Tensor], Tensor]
"""Images (n, C, H, W) and those to come near, to a distance of each, (n,)."""
# Adam by its authors' settings, as a function: to make torch's class imports torch's compiler, for seconds.
adam_step = partial(adam, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0, amsgrad=False, maximize=False)
SCOUTS = 0.2  # share of the steps after which only the best of several starts goes on
NORM_SPREAD = 3 / math.sqrt(2)  # lengths of normal latents are sqrt(K) ± sqrt(1/2): so many above, 1 in 1,000 is longer


class Generate(Protocol):
    """A generator whose images may depend on the start of the search too, as on its class."""

    def __call__(self, latents: Tensor, /, *, start: Tensor) -> Tensor:
        """Images (n, C, H, W) of latents (n, K), each of its own alone, which came from start number `start` (n,)."""


class Found(NamedTuple):
    """The best latents on the way of a search.

    Attributes:
        latents: (n, K).
        losses: (n,); infinite where the generator gave no finite image.
        start: (n,) the number of the start that led there.
    """

    latents: Tensor
    losses: Tensor
    start: Tensor


def search(
    generate: Generate,
    images: Tensor,
    starts: Tensor,
    *,
    loss: Loss,
    prior: Prior,
    steps: int,
    lr: float,
    keep_in_range: bool = True,
) -> Found:
    """Latents of which `generate` makes what comes near `images`, from the best of several starts.

    Every start goes a fifth of the way; then the one that has come nearest goes on alone, for each image its own.

    Args:
        generate: latents (n, K) to images (n, C, H, W).
        images: (n, C, H, W) in [-1, 1].
        starts: (S, n, K).
        loss: a distance of images, differentiable.
        prior: of the latents.
        steps: of Adam, in all.
        lr: learning rate in units of the latents; it falls to 0 along a cosine in the end.
        keep_in_range: hold latents where the prior puts them, as `into_range` does.
    """
    way = partial(descend, loss=loss, prior=prior, lr=lr, keep_in_range=keep_in_range)
    rows = torch.arange(starts.shape[1], device=starts.device)
    if len(starts) == 1:
        first, best = starts[0], torch.zeros_like(rows)
    else:
        scouting = max(1, round(SCOUTS * steps))
        latents, losses = [], []
        for number, start in enumerate(starts):
            made_from = partial(generate, start=torch.full_like(rows, number))
            found, least = way(made_from, images, start, steps=scouting, constant=True)
            latents.append(found)
            losses.append(least)
        best = torch.stack(losses).argmin(dim=0)
        first, steps = torch.stack(latents)[best, rows], steps - scouting
    latents_found, losses_found = way(partial(generate, start=best), images, first, steps=steps)
    return Found(latents_found, losses_found, best)


def descend(
    generate: Callable[[Tensor], Tensor],
    images: Tensor,
    start: Tensor,
    *,
    loss: Loss,
    prior: Prior,
    steps: int,
    lr: float,
    keep_in_range: bool = True,
    constant: bool = False,
) -> tuple[Tensor, Tensor]:
    """The best latents (n, K) on the way from `start` (n, K), and their losses (n,).

    As `search` from one start; the learning rate falls to 0 along a cosine, unless it is `constant`.
    """
    with torch.inference_mode(mode=False), torch.enable_grad():  # whatever the caller's mode
        images = images.clone()  # made in inference mode, they would take no part in a backward pass
        z = start.clone().requires_grad_()
        mean, square, count = torch.zeros_like(start), torch.zeros_like(start), torch.zeros(())
        best, latents = torch.full((len(images),), torch.inf, device=images.device), start.clone()
        for step in range(steps + 1):
            losses = loss(generate(z), images)
            better = losses.detach() < best  # never where it is NaN
            best = torch.where(better, losses.detach(), best)
            latents = torch.where(better[:, None], z.detach(), latents)
            if step == steps:
                break
            # The sum, not the mean: each latent's gradient is then that of its own image, whatever their number. And
            # not `backward()`, which would leave gradients in the generator's weights.
            (slope,) = torch.autograd.grad(losses.sum(), z)
            rate = lr if constant else lr * (1 + math.cos(math.pi * step / (steps + 1))) / 2
            adam_step([z.data], [slope], [mean], [square], [], [count], lr=rate)
            if keep_in_range:
                z.data.copy_(into_range(z.data, prior))
    return latents, best


def into_range(latents: Tensor, prior: Prior) -> Tensor:
    """`latents` (n, K) where the prior puts them: each value in [-1, 1], or the whole no longer than normal ones are.

    The length of a normal latent is about sqrt(K): one in a thousand is longer than this lets them be.
    """
    if prior == "uniform":
        return latents.clamp(-1, 1)
    longest = math.sqrt(latents.shape[1]) + NORM_SPREAD
    scaled: Tensor = latents * (longest / latents.norm(dim=1, keepdim=True).clamp_min(1e-30)).clamp(max=1)
    return scaled


def absolute_error(images: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute error of each image, (n,), as BEGAN's authors take it."""
    return (images - targets).abs().flatten(1).mean(dim=1)


def squared_error(images: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of each image, (n,)."""
    return (images - targets).square().flatten(1).mean(dim=1)
