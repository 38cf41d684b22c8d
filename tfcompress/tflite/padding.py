"""How many zeros SAME padding puts around an image."""

from __future__ import annotations

from collections.abc import Sequence

# The schema's number of SAME in its enumeration `Padding`.
SAME = 0


def same_pads(
    size: Sequence[int], window: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> tuple[int, int, int, int]:
    """Returns the zeros above, below, left and right of an image.

    Where their number is odd, the one too many stands below or right, as in TensorFlow.

    Args:
        size: height and width of the image.
        window: of the filter or the pooling.
        strides: down, right.
        dilations: down, right.

    Example:
        >>> same_pads((5, 6), (3, 3), (1, 2), (1, 1))
        (1, 1, 0, 1)
    """
    pads: list[int] = []
    for length, width, stride, dilation in zip(size, window, strides, dilations, strict=True):
        outputs = -(-length // stride)
        total = max((outputs - 1) * stride + (width - 1) * dilation + 1 - length, 0)
        pads += (total // 2, total - total // 2)
    above, below, left, right = pads
    return above, below, left, right
