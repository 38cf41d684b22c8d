"""The custom ops as they stand in a file; `src/options.h` has the same from the other side."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

CONV, DENSE, POOL = "TfcXnorConv2D", "TfcXnorDense", "TfcXnorMaxPool2D"
# A convolution of bytes instead of signs.
BYTE_CONV = "TfcXnorByteConv2D"
NAMES = (CONV, DENSE, POOL, BYTE_CONV)
LINEAR, RELU, PRELU = 0, 1, 2
# Channels of a word of bits.
WORD = 32
_MAGIC, _VERSION = 0x4B584654, 1  # "TFXK"
_FORMAT = struct.Struct("<17i")


def options(
    channels: int,
    filters: int,
    *,
    kernel: tuple[int, int] = (1, 1),
    strides: tuple[int, int] = (1, 1),
    dilations: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    pad_value: int = 0,
    activation: int = LINEAR,
    add_first: bool = False,
) -> bytes:
    """Packs the options of one of our ops.

    Args:
        channels: of its input.
        filters: channels of its output.
        kernel: height and width.
        strides: down and right.
        dilations: down and right.
        pads: top, bottom, left, right.
        pad_value: 0 or 1.
        activation: `LINEAR`, `RELU` or `PRELU`.
        add_first: whether the operand is added before the activation.
    """
    shape = (channels, filters, *kernel, *strides, *dilations)
    return _FORMAT.pack(_MAGIC, _VERSION, *shape, *pads, pad_value, activation, add_first)


def macs(name: str, packed: bytes, output: Sequence[int]) -> int | None:
    """Multiply-accumulates of one of our ops; each binary one counts as one.

    Args:
        name: of the custom op.
        packed: its options.
        output: shape of its first output.

    Returns:
        None if it isn't one of ours.

    >>> macs(DENSE, options(300, 10), (1, 10))
    3000
    """
    if name not in NAMES or len(packed) != _FORMAT.size:
        return None
    magic, version, channels, filters, height, width, *_ = _FORMAT.unpack(packed)
    if (magic, version) != (_MAGIC, _VERSION):
        return None
    if name == POOL:
        return 0
    return math.prod(output[:-1]) * filters * height * width * channels
