"""The EBGAN family's shared term: the pulling-away term of Zhao, Mathieu and LeCun (2016), arXiv:1609.03126."""

import torch.nn.functional as F
from torch import Tensor


def pulling_away(code: Tensor) -> Tensor:
    """Mean squared cosine between the codes of different samples (section 2.4, equation 4 of the paper).

    Args:
        code: (N, K) with N >= 2.

    Returns:
        0-d in [0, 1]: 0 where all codes are orthogonal, 1 where they all lie on one line.
    """
    count = len(code)
    unit = F.normalize(code, dim=1)
    cosines = (unit @ unit.T).square()
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))
