"""Counts the pixels around and behind a sliding window: `padding` as Keras's convolutions mean it.

Plain whole numbers; no tensors.
"""

from __future__ import annotations


def window_reach(kernel: int, dilation: int = 1) -> int:
    """Returns how many pixels a window spans along one axis.

    >>> window_reach(3), window_reach(3, dilation=2)
    (3, 5)
    """
    return (kernel - 1) * dilation + 1


def output_length(
    size: int, kernel: int, stride: int = 1, padding: str = "valid", dilation: int = 1
) -> int:
    """Returns how many outputs a sliding window has along one axis.

    ```
    "same"    ceil(size / stride)
    "valid"   ceil((size - reach + 1) / stride)
    ```

    for a window that spans `reach` pixels; below 1 where it doesn't fit.

    >>> output_length(7, 3, stride=2, padding="same"), output_length(7, 3, stride=2)
    (4, 3)

    Args:
        size: pixels of the input.
        kernel: taps of the window.
        stride: pixels from one window to the next.
        padding: `"same"` or `"valid"`.
        dilation: pixels from one tap to the next.
    """
    lost = 0 if padding == "same" else window_reach(kernel, dilation) - 1
    return -(-(size - lost) // stride)


def same_pads(size: int, kernel: int, stride: int = 1, dilation: int = 1) -> tuple[int, int]:
    """Returns how many pixels `padding="same"` adds before and behind one axis.

    As few as give every `stride`-th pixel a window; of an odd number the larger part stands behind.

    >>> same_pads(8, 3), same_pads(8, 3, stride=2), same_pads(9, 4, dilation=2)
    ((1, 1), (0, 1), (3, 3))

    Args:
        size: pixels of the input.
        kernel: taps of the window.
        stride: pixels from one window to the next.
        dilation: pixels from one tap to the next.
    """
    last_window = (output_length(size, kernel, stride, "same") - 1) * stride
    missing = max(0, last_window + window_reach(kernel, dilation) - size)
    return missing // 2, missing - missing // 2
