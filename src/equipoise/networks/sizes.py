"""How often a network can halve the sides of its images."""

import math

from equipoise.errors import UsageError

Size = tuple[int, int]
"""(height, width) in pixels."""


def halvings(size: Size, network: str, longer: int, shorter: int) -> int:
    """How often `size` is halved on the way to the bottleneck, at least once.

    The bottleneck is `longer` on its longer side where that is `longer` times a power of two; else up to twice that,
    less one.

    Args:
        size: of the images.
        network: its name, for the refusal.
        longer: least longer side of the bottleneck, in pixels.
        shorter: least shorter side of it.

    Raises:
        UsageError: a side does not halve so often, or the shorter one falls below `shorter`.
    """
    times = max(1, int(math.log2(max(*size, longer) / longer)))
    grain = 2**times
    if min(size) < shorter * grain or max(size) < longer * grain or any(side % grain for side in size):
        most = max(longer * grain, max(size) // grain * grain)
        height, width = (
            max(shorter * grain, min(most, round(side / grain) * grain)) if side < max(size) else most for side in size
        )
        near = f"{width}" if width == height else f"{width}x{height}"
        raise UsageError(
            f"the {network} needs a width and height that divide by {grain}, to {longer} or more on the longer side "
            f"and {shorter} or more on the shorter, not {size[1]}x{size[0]}: try --resolution {near}"
        )
    return times


def halved(size: Size, times: int) -> Size:
    """`size` after so many halvings."""
    return size[0] >> times, size[1] >> times
