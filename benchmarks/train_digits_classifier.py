"""Train the classifier behind the feature extractor `digits`, on the training side of the bundled digits.

    python -m benchmarks.train_digits_classifier              # writes the weights that the package carries
    python -m benchmarks.train_digits_classifier --folds 10   # how accurate the recipe is, judged on every digit once

Beside the digits it is shown what are none, noise and digits whose pieces are shuffled, and learns to be sure of
nothing there (outlier exposure: Hendrycks, Mazeika and Dietterich 2019, arXiv:1812.04606), so that the share of samples
it is sure of says something. Of a grainy digit it learns to be the less sure the more grain there is, so that its
features neither overlook grain nor see nothing else. The same seed on the same machine gives the same weights. The
recipe was chosen without a look at the held-out side.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from equipoise.data import Images, open_images
from equipoise.data.digests import held_out
from equipoise.metrics.features.digits import WEIGHTS, DigitsNetwork, prepare
from equipoise.randomness import keyed_generator

SHARE = 0.1  # held out
RESOLUTIONS = (32, 28, 64, 16)
EPOCHS, BATCH, RATE, EMA = 40, 64, 4e-3, 0.995
TURN, SHEAR, SHIFT = 0.2, 0.15, 0.12  # the most, in radians, as a slope, and of half a side
SCALE, STRETCH = 0.15, 0.08  # the most, of the logarithm
NOISE = 0.8  # the most, as a standard deviation
OUTLIERS = 0.5  # weight of being unsure of what is no digit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--folds", type=int, default=0, help="cross-validate instead, over so many parts")
    options = parser.parse_args()
    torch.set_num_threads(2)  # part of what makes a run the same
    if options.folds:
        cross_validate(options.folds, options.seed)
        return
    training, rest = open_images("digits", resolution=32).split(SHARE)
    network = fit(*tensors(training), options.seed)
    shares = {size: accuracy(network, open_images("digits", resolution=size).split(SHARE)[1]) for size in RESOLUTIONS}
    facts = {
        "accuracy": f"{shares[32]:.4f}",
        "accuracy_of": f"{len(rest)} held-out digits",
        "split": f"{SHARE}",
        "trained_on": training.fingerprint,
        "seed": f"{options.seed}",
        "command": "python -m benchmarks.train_digits_classifier",
    }
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, options.out, facts)
    print(f"{options.out}: {options.out.stat().st_size:,} bytes, trained on {len(training)} digits")
    for size, share in shares.items():
        print(f"accuracy on {len(rest)} held-out digits at {size}x{size}: {share:.2%} ± {error(share, len(rest)):.2%}")


def cross_validate(folds: int, seed: int) -> None:
    """For each part of the digits, chosen as the held-out side is, train on all the others and judge that part."""
    packed = {size: open_images("digits", resolution=size) for size in RESOLUTIONS}
    pixels, labels = tensors(packed[32])
    digests = packed[32].digests
    right = dict.fromkeys(RESOLUTIONS, 0.0)
    for fold in range(folds):
        part = torch.from_numpy(held_out(digests, (fold + 1) / folds) & ~held_out(digests, fold / folds))
        network = fit(pixels[~part], labels[~part], seed)
        for size, images in packed.items():
            right[size] += correct(network, tensors(images)[0][part], labels[part])
        print(
            f"part {fold + 1} of {folds}: {correct(network, pixels[part], labels[part])} of {int(part.sum())}",
            flush=True,
        )
    for size, count in right.items():
        share = count / len(labels)
        print(f"accuracy on all {len(labels)} at {size}x{size}: {share:.2%} ± {error(share, len(labels)):.2%}")


def fit(pixels: Tensor, labels: Tensor, seed: int) -> DigitsNetwork:
    """Train on (N, 1, 32, 32) in [-1, 1] and labels (N,); gives the moving average of the weights, in eval mode."""
    torch.manual_seed(seed)
    network = DigitsNetwork()
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(EMA), use_buffers=True)
    optimizer = torch.optim.AdamW(network.parameters())
    steps = EPOCHS * math.ceil(len(pixels) / BATCH)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for epoch in range(EPOCHS):
        draws = keyed_generator(seed, "digits classifier", epoch)
        for chosen in torch.randperm(len(pixels), generator=draws).split(BATCH):
            shown = distorted(pixels[chosen], draws)
            grainy, sure = grained(shown, draws)
            _, logits = network(torch.cat([grainy, outliers(shown, draws)]))
            digit, none = logits.split(len(chosen))
            wanted = sure * F.one_hot(labels[chosen], 10) + (1 - sure) / 10
            loss = F.cross_entropy(digit, wanted) - OUTLIERS * none.log_softmax(1).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
            average.update_parameters(network)
    return average.module.eval()


def distorted(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """Turn, shear, scale and shift each of (N, 1, H, W) at random."""

    def within(most: float) -> Tensor:
        return (torch.rand(len(pixels), generator=draws) * 2 - 1) * most

    turn, shear, right, down = within(TURN), within(SHEAR), within(SHIFT), within(SHIFT)
    wide, stretch = within(SCALE), within(STRETCH)
    across, along = wide.exp(), (wide + stretch).exp()
    rows = [
        torch.stack([turn.cos() * across, (shear - turn.sin()) * across, right], dim=1),
        torch.stack([turn.sin() * along, turn.cos() * along, down], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)


def grained(pixels: Tensor, draws: torch.Generator) -> tuple[Tensor, Tensor]:
    """Add noise to half of (N, 1, H, W) in [-1, 1]; gives how sure one should be of each still, (N, 1) in [0, 1]."""
    share = (2 * torch.rand(len(pixels), 1, generator=draws) - 1).clamp_min(0)
    noise = torch.randn(pixels.shape, generator=draws) * NOISE * share[..., None, None]
    return (pixels + noise).clamp(-1, 1), 1 - share**2


def outliers(pixels: Tensor, draws: torch.Generator) -> Tensor:
    """As many images of no digit as (N, 1, 32, 32) digits: half of shuffled pieces, half noise of any grain."""

    def one_of(*sizes: int) -> int:
        return sizes[int(torch.randint(len(sizes), (1,), generator=draws))]

    count, side, piece = len(pixels) // 2, pixels.shape[-1], one_of(4, 8, 16)
    pieces = F.unfold(pixels[:count], piece, stride=piece)  # (n, piece * piece, pieces)
    order = torch.rand(count, 1, pieces.shape[2], generator=draws).argsort(dim=2).expand_as(pieces)
    shuffled = F.fold(pieces.gather(2, order), side, piece, stride=piece)
    grain = one_of(2, 4, 8, 16, 32)
    coarse = torch.randn(len(pixels) - count, 1, grain, grain, generator=draws)
    contrast, brightness = torch.rand(2, len(coarse), 1, 1, 1, generator=draws)
    noise = F.interpolate(coarse, side, mode="bilinear") * 2 * contrast + 2 * brightness - 1
    return torch.cat([shuffled, noise.clamp(-1, 1)])


@torch.no_grad()
def correct(network: DigitsNetwork, pixels: Tensor, labels: Tensor) -> int:
    return int((network(pixels)[1].argmax(dim=1) == labels).sum())


def accuracy(network: DigitsNetwork, images: Images) -> float:
    return correct(network, *tensors(images)) / len(images)


def error(share: float, count: int) -> float:
    """The standard error of a share of `count`."""
    return math.sqrt(share * (1 - share) / count)


def tensors(images: Images) -> tuple[Tensor, Tensor]:
    assert images.labels is not None
    return prepare(images.batch(np.arange(len(images)))), torch.from_numpy(images.labels)


if __name__ == "__main__":
    main()
