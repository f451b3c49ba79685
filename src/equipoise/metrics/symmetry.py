"""Whether mirror images are as likely as the images themselves, so that a generator may learn from both."""

import torch
from torch import Tensor


def mirror_asymmetry(images: Tensor) -> float:
    """How much images (N, C, H, W), N at least 2, differ from their mirror images as a set: 0 if not at all, up to 1.

    An image's antisymmetric part a = (x - mirrored x) / 2 changes its sign where the image is mirrored. If mirror
    images are as likely, a is distributed as -a, and for two images E|a + a'| = E|a - a'|; in any other case, and in no
    other, the first is larger (Szekely and Mori 2001, doi:10.1081/STA-100104748). This is the difference over the sum,
    both of all pairs: unbiased, so slightly below 0 at times.
    """
    values = images.double().cpu()
    parts = ((values - values.flip(-1)) / 2).flatten(1)
    apart, against = torch.cdist(parts, parts), torch.cdist(parts, -parts)
    against.fill_diagonal_(0.0)  # an image is no pair with itself
    total = float((apart + against).sum())
    return float((against - apart).sum()) / total if total > 0 else 0.0
