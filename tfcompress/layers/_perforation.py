"""Says where a perforated convolution is computed, and how a plain one computes it there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from tfcompress.layers.nearest_fill2d import fill
from tfcompress.ops import perforation as masks
from tfcompress.ops.padding import output_length, same_pads, window_reach

Sizes = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class _Axis:
    """Holds the reading of one axis of a grid: what a convolution gets in place of the image.

    Attributes:
        first: the first pixel that is read; negative in the padding.
        end: behind the last one.
        taps: the pixels to be read, counted from `first`, if windows are copied side by side; None
            if the convolution itself steps over the pixels.
        stride: of the convolution.
        slice_step: every how many pixels are read, of a 1x1 kernel.
    """

    first: int
    end: int
    taps: tuple[int, ...] | None
    stride: int
    slice_step: int = 1

    @classmethod
    def of(
        cls, kept: Sequence[int], kernel: int, stride: int, dilation: int, padding: int
    ) -> _Axis:
        """Returns the reading of these outputs' windows; `padding` is that before the axis."""
        first = kept[0] * stride - padding
        end = kept[-1] * stride - padding + window_reach(kernel, dilation)
        step = masks.step(list(kept))
        if step is not None and kernel == 1:
            # oneDNN's gradient of 1x1 convolutions with strides writes past its buffers.
            return cls(first, end, None, 1, step * stride)
        if step is not None and dilation == 1:
            return cls(first, end, None, step * stride)
        starts = (np.asarray(kept) - kept[0]) * stride
        taps = starts[:, None] + np.arange(kernel) * dilation
        return cls(first, end, tuple(taps.ravel().tolist()), kernel)

    def pads(self, size: int) -> Sizes:
        """Returns how many zeros stand before and behind the image."""
        return max(0, -self.first), max(0, self.end - size)

    def part(self, size: int) -> slice:
        """Returns what is read of the padded image, whose size without pads is given."""
        first = max(0, self.first)
        return slice(first, first + self.end - self.first, self.slice_step)

    def as_same(self, size: int, kernel: int, count: int) -> bool:
        """Says whether `padding="same"` reads the same pixels."""
        return (
            self.taps is None
            and self.slice_step == 1
            and self.first <= 0
            and -(-size // self.stride) == count
            and self.pads(size) == same_pads(size, kernel, self.stride)
        )


@dataclasses.dataclass(frozen=True)
class Window:
    """Describes a whole convolution by its geometry.

    Attributes:
        size: height and width of the image.
        kernel_size, strides, padding, dilation_rate: as in `keras.layers.Conv2D`.
    """

    size: Sizes
    kernel_size: Sizes
    strides: Sizes
    padding: str
    dilation_rate: Sizes

    @property
    def output_size(self) -> Sizes:
        """Returns height and width of the output; below 1 where the kernel doesn't fit."""
        height, width = (
            output_length(size, kernel, stride, self.padding, dilation)
            for size, kernel, stride, dilation in zip(
                self.size, self.kernel_size, self.strides, self.dilation_rate, strict=True
            )
        )
        return height, width

    @property
    def pads(self) -> tuple[Sizes, Sizes]:
        """Returns the zeros around the image: ((top, bottom), (left, right))."""
        if self.padding == "valid":
            return (0, 0), (0, 0)
        down, across = map(same_pads, self.size, self.kernel_size, self.strides, self.dilation_rate)
        return down, across


@dataclasses.dataclass(frozen=True)
class Perforation:
    """Says which outputs of a convolution are computed, and how.

    Attributes:
        computed_size: height and width of what the convolution gives: of a grid its rows and
            columns, else one row of all positions.
        output_size: height and width of the whole output.
        fill_indices: the rows and columns of what is computed that make the whole output; of one
            row, its columns are all pixels.
        axes: how a grid reads the image; None for single positions.
        pixels: for these, the pixels of all windows, of the padded image row by row.
        pads: of that image: ((top, bottom), (left, right)).
        strides, padding: of the convolution.
    """

    computed_size: Sizes
    output_size: Sizes
    fill_indices: tuple[list[int], list[int]]
    axes: tuple[_Axis, _Axis] | None = None
    pixels: tuple[int, ...] = ()
    pads: tuple[Sizes, Sizes] = ((0, 0), (0, 0))
    strides: Sizes = (1, 1)
    padding: str = "valid"

    @classmethod
    def of_grid(cls, window: Window, rate: float, mask: str) -> Perforation:
        """Computes the crossings of rows and columns, a share `1 - rate` of all outputs."""
        size = window.output_size
        kept = masks.grid(*size, rate, mask)
        first, second = (
            _Axis.of(positions, kernel, stride, dilation, before)
            for positions, kernel, stride, dilation, (before, _) in zip(
                kept,
                window.kernel_size,
                window.strides,
                window.dilation_rate,
                window.pads,
                strict=True,
            )
        )
        counts = len(kept[0]), len(kept[1])
        same = all(map(_Axis.as_same, (first, second), window.size, window.kernel_size, counts))
        return cls(
            computed_size=counts,
            output_size=size,
            fill_indices=(masks.nearest(size[0], kept[0]), masks.nearest(size[1], kept[1])),
            axes=(first, second),
            strides=(first.stride, second.stride),
            padding="same" if same else "valid",
        )

    @classmethod
    def of_positions(cls, window: Window, positions: Sequence[int]) -> Perforation:
        """Computes these outputs, counted row by row.

        Raises:
            ValueError: one lies outside.
        """
        height, width = window.output_size
        if positions[-1] >= height * width:
            raise ValueError(
                f"positions must be below the output's {height} x {width}. "
                f"Received: {positions[-1]}"
            )
        row_length = window.size[1] + sum(window.pads[1])
        rows, columns = np.divmod(np.asarray(positions), width)
        down, across = (
            np.arange(kernel) * dilation
            for kernel, dilation in zip(window.kernel_size, window.dilation_rate, strict=True)
        )
        taps = (down[:, None] * row_length + across).ravel()
        corners = rows * window.strides[0] * row_length + columns * window.strides[1]
        return cls(
            computed_size=(1, len(positions)),
            output_size=(height, width),
            fill_indices=([0], masks.nearest_on_plane(height, width, list(positions))),
            pixels=tuple((corners[:, None] + taps).ravel().tolist()),
            pads=window.pads,
        )

    def windows(self, x: Any) -> Any:
        """Returns what the convolution takes of (batch, height, width, channels)."""
        if self.axes is None:
            x = _padded(x, self.pads)
            _, height, width, channels = x.shape
            x = ops.reshape(x, (-1, height * width, channels))
            x = ops.take(x, list(self.pixels), axis=1)
            taps = len(self.pixels) // self.computed_size[1]
            return ops.reshape(x, (-1, 1, self.computed_size[1], taps * channels))
        if self.padding == "same":
            return x
        size = x.shape[1:3]
        x = _padded(x, [axis.pads(n) for axis, n in zip(self.axes, size, strict=True)])
        parts = [axis.part(n) for axis, n in zip(self.axes, size, strict=True)]
        if any(part != slice(0, n, 1) for part, n in zip(parts, x.shape[1:3], strict=True)):
            x = x[:, parts[0], parts[1]]
        for number, axis in enumerate(self.axes, 1):
            if axis.taps is not None:
                x = ops.take(x, list(axis.taps), axis=number)
        return x

    def kernel(self, kernel: Any) -> Any:
        """Returns the kernel that the convolution has, of (height, width, channels, filters)."""
        if self.axes is not None:
            return kernel
        return ops.reshape(kernel, (1, 1, -1, kernel.shape[-1]))

    def filled(self, x: Any) -> Any:
        """Returns the whole output of what is computed."""
        x = fill(x, *self.fill_indices)
        if self.axes is None:
            x = ops.reshape(x, (-1, *self.output_size, x.shape[-1]))
        return x


def _padded(x: Any, pads: Sequence[Sizes]) -> Any:
    return ops.pad(x, [(0, 0), *pads, (0, 0)]) if any(map(any, pads)) else x
