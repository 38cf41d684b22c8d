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
_MAGIC = 0x4B584654  # "TFXK"
# Options by their version. The second one has the bits of a value that comes in, and of one that is
# written as bits; of the first one both have 1.
_FORMATS = {1: struct.Struct("<17i"), 2: struct.Struct("<19i")}


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
    in_bits: int = 1,
    out_bits: int = 1,
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
        in_bits: 1 for inputs that are signs or bytes, 2 for levels.
        out_bits: of the outputs, where they are written as bits.
    """
    shape = (channels, filters, *kernel, *strides, *dilations)
    values = (*shape, *pads, pad_value, activation, add_first)
    if (in_bits, out_bits) == (1, 1):
        return _FORMATS[1].pack(_MAGIC, 1, *values)
    return _FORMATS[2].pack(_MAGIC, 2, *values, in_bits, out_bits)


def macs(name: str, packed: bytes, output: Sequence[int]) -> int | None:
    """Multiply-accumulates of one of our ops; each binary one counts as one, of levels, too.

    Args:
        name: of the custom op.
        packed: its options.
        output: shape of its first output.

    Returns:
        None if it isn't one of ours.

    >>> macs(DENSE, options(300, 10), (1, 10))
    3000
    """
    found = [version for version, each in _FORMATS.items() if each.size == len(packed)]
    if name not in NAMES or not found:
        return None
    magic, version, channels, filters, height, width, *_ = _FORMATS[found[0]].unpack(packed)
    if (magic, version) != (_MAGIC, found[0]):
        return None
    if name == POOL:
        return 0
    return math.prod(output[:-1]) * filters * height * width * channels
