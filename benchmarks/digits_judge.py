"""A judge of digits for the benchmarks: a small classifier, trained on the bundled digits in half a minute.

It tells which digits a set of samples shows, how sure one can be of them, and how far their features are from real
ones (KID, Binkowski et al. 2018, arXiv:1801.01401).
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from equipoise.data import normalise, open_images
from equipoise.health import diversity
from equipoise.randomness import keyed

SURE = 0.9  # the least probability of a digit that one can recognise


@dataclass(frozen=True)
class Verdict:
    """What samples look like.

    Attributes:
        digits: how many samples were taken for each digit, 0 to 9.
        seen: how many different digits are among the first 64 recognisable samples.
        entropy: of the digits' histogram, 1 when all are as frequent.
        sure: share of samples with a probability above SURE for one digit (real ones: 0.98).
        diversity: mean pairwise distance over the data's.
        kid: 1,000 times the squared kernel distance to held-out digits (real ones: 0).
    """

    digits: list[int]
    seen: int
    entropy: float
    sure: float
    diversity: float
    kid: float


class Judge:
    """Trained on 4,000 digits when made; 1,000 are held out. `accuracy` is over those."""

    def __init__(self, seed: int = 0) -> None:
        images = open_images("digits", resolution=32)
        every = torch.randperm(len(images), generator=keyed(seed, "split"))
        pixels = normalise(images.batch(every.numpy()))
        assert images.labels is not None
        labels = torch.from_numpy(images.labels)[every]
        self.held_out = pixels[4000:]
        self.body, self.head = _network()
        _fit(nn.Sequential(self.body, self.head), pixels[:4000], labels[:4000], seed)
        self.accuracy = float((self.head(self._features(self.held_out)).argmax(1) == labels[4000:]).double().mean())
        self.reference = self._features(self.held_out)
        self.spacing = diversity(self.held_out)

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Verdict:
        """Judge (N, 1, 32, 32) uint8 samples, N >= 2."""
        pixels = normalise(images)
        features = self._features(pixels)
        sure, digit = self.head(features).softmax(1).max(1)
        counts = torch.bincount(digit, minlength=10)
        shares = (counts / counts.sum()).clamp_min(1e-12)
        return Verdict(
            digits=counts.tolist(),
            seen=len(set(digit[:64][sure[:64] > SURE].tolist())),
            entropy=float(-(shares * shares.log()).sum() / np.log(10)),
            sure=float((sure > SURE).double().mean()),
            diversity=diversity(pixels[:1000]) / self.spacing,
            kid=1000 * kernel_distance(features, self.reference),
        )

    @torch.no_grad()
    def _features(self, pixels: Tensor) -> Tensor:
        return torch.cat([self.body(part) for part in torch.split(pixels, 250)])


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """The unbiased squared MMD with the kernel (a.b / K + 1)^3 between (N, K) and (M, K), in float64."""
    a, b = a.double(), b.double()
    n, m, size = len(a), len(b), a.shape[1]
    aa, bb, ab = ((u @ v.T / size + 1) ** 3 for u, v in ((a, a), (b, b), (a, b)))
    within = (aa.sum() - aa.trace()) / (n * (n - 1)) + (bb.sum() - bb.trace()) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def _network() -> tuple[nn.Sequential, nn.Linear]:
    layers: list[nn.Module] = []
    for n_in, n_out, stride in ((1, 16, 1), (16, 32, 2), (32, 48, 2), (48, 64, 2)):
        layers += [nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 64), nn.LayerNorm(64)), nn.Linear(64, 10)


def _fit(network: nn.Sequential, pixels: Tensor, labels: Tensor, seed: int, epochs: int = 14, batch: int = 64) -> None:
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.reset_parameters()
    optimizer = torch.optim.AdamW(network.parameters())
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=epochs * -(-len(pixels) // batch))
    for _ in range(epochs):
        for chosen in torch.randperm(len(pixels)).split(batch):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            loss = F.cross_entropy(network(pixels[chosen].roll((down, right), (2, 3))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
    network.eval()


if __name__ == "__main__":
    print(f"accuracy on 1,000 held-out digits: {Judge().accuracy:.1%}")
