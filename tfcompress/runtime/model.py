"""Runs a `.tflite` image classifier on arrays."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line
from tfcompress.runtime.delegate_line import drop_delegate_line
from tfcompress.runtime.interpreter import open_file
from tfcompress.tflite import header

if TYPE_CHECKING:
    import numpy as np


class LiteModel:
    """A `.tflite` file with one input and one output, ready to predict.

    The header is checked here, and the runtime verifies the flatbuffer's structure before it uses
    it. Neither proves that a file from a stranger is harmless: an op may still crash the process.
    `tfcompress.benchmark` therefore runs files in a process of their own.

    The 1-bit ops of the storage `xnor` go to tfcompress's own kernels, with and without XNNPACK. A
    file of the storage `xnor+int8` runs by its 1-bit signature where those kernels can be used, and
    elsewhere by its default one, which is said once on stderr, as is a file of 1-bit ops alone that
    runs by slow portable code.

    Args:
        path: the file.
        threads: CPU threads of one inference.
        xnnpack: whether float and int8 ops go to XNNPACK, the runtime's fast CPU kernels. Off is
            4 to 8 times slower and shows the file's own op kernels.
        keep_all: whether the values of all tensors are kept for `tensors`, at the cost of memory.
        signature: which signature to run, such as `serving_default`, where the file has several;
            None for the fastest that runs here.

    Attributes:
        signature: the signature that runs; None if the file hasn't several.
        input_shape: shape of the input, batch first.
        output_shape: shape of the output, batch first.
        input_dtype: the file's input type, such as `float32` or `int8`.
        output_dtype: the file's output type.
        input_grid: scale and zero point of an integer input; the scale is 0 if it has none.

    Raises:
        InputError: the file is missing, not a `.tflite` file, cut short or corrupt, needs ops that
            the runtime lacks, or has more than one input or output; it has only 1-bit ops, and the
            kernels can't be built here; it has no such signature; or threads is below 1.

    Example:
        >>> model = LiteModel("compressed.tflite")  # doctest: +SKIP
        >>> model.predict(images).argmax(axis=-1)  # doctest: +SKIP
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        xnnpack: bool = True,
        keep_all: bool = False,
        signature: str | None = None,
    ) -> None:
        require(threads >= 1, f"threads must be 1 or more; got {threads}")
        self.path = str(header.checked_path(path))
        try:
            with drop_delegate_line():
                opened = open_file(
                    path, threads=threads, xnnpack=xnnpack, signature=signature, keep_all=keep_all
                )
            inputs = opened.interpreter.get_input_details()
            outputs = opened.interpreter.get_output_details()
        except InputError:
            raise
        except ValueError as error:  # the flatbuffer failed verification, or a name isn't UTF-8
            raise header.corrupt(path, error) from error
        except RuntimeError as error:  # an unknown op, or tensors that don't fit together
            raise InputError(f"{path} can't be run by this LiteRT: {one_line(error)}") from error
        if opened.because:
            from tfcompress import kernels

            kernels.report_unused(opened.because)
        if opened.slow:
            from tfcompress import kernels

            kernels.report_slow(opened.slow)
        self._interpreter, self.signature = opened.interpreter, opened.signature
        require(
            len(inputs) == 1 and len(outputs) == 1,
            f"{path} has {len(inputs)} inputs and {len(outputs)} outputs; predict takes 1 and 1",
        )
        self._input, self._output = inputs[0], outputs[0]
        self.input_shape = tuple(int(size) for size in self._input["shape"])
        self.output_shape = tuple(int(size) for size in self._output["shape"])
        require(
            len(self.input_shape) >= 2 and self.output_shape[:1] == self.input_shape[:1],
            f"{path} maps {self.input_shape} to {self.output_shape}; predict needs the batch first",
        )
        self.input_dtype = _dtype(self._input).name
        self.output_dtype = _dtype(self._output).name
        self.input_grid: tuple[float, int] = self._input["quantization"]

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Computes the outputs for a stack of inputs, at the file's own batch size.

        Args:
            x: real numbers of shape (n, H, W, C), as the Keras model takes them. They are
                quantised with the input's scale if the file's input is an integer.

        Returns:
            float32 of shape (n, classes), dequantised if the file's output is an integer.

        Raises:
            InputError: the shape isn't the file's, or an integer input got NaN or infinity.
        """
        import numpy as np

        x = np.asarray(x)
        shape = self.input_shape[1:]
        require(
            x.ndim == len(shape) + 1 and x.shape[1:] == shape,
            f"{self.path} takes inputs of shape (n, {', '.join(map(str, shape))}); "
            f"got {tuple(x.shape)}",
        )
        batch = self.input_shape[0]
        outputs = np.empty((len(x), *self.output_shape[1:]), np.float32)
        for start in range(0, len(x), batch):
            part = x[start : start + batch]
            count = len(part)
            if count < batch:  # The last part, in a file whose batch is fixed above 1.
                part = np.concatenate([part, np.zeros((batch - count, *shape), part.dtype)])
            self._interpreter.set_tensor(self._input["index"], quantize(part, self._input))
            self._interpreter.invoke()
            output = self._interpreter.get_tensor(self._output["index"])
            outputs[start : start + count] = dequantize(output, self._output)[:count]
        return outputs

    def tensors(self, x: np.ndarray, names: Sequence[str]) -> list[np.ndarray]:
        """Computes the values of tensors inside the file; the model must be made with `keep_all`.

        Args:
            x: as `predict` takes them; the file's batch must be 1.
            names: of the tensors. One that only delegated ops use has no values here.

        Returns:
            For each name an array whose first axis is the inputs'; real numbers if the tensor has
            a scale.

        Raises:
            InputError: the file has no such tensor.
        """
        import numpy as np

        known = {d["name"]: d for d in self._interpreter.get_tensor_details()}
        for name in names:
            require(name in known, f"{self.path} has no tensor '{name}'")
        rows: list[list[np.ndarray]] = [[] for _ in names]
        for row in range(len(x)):
            self.predict(x[row : row + 1])
            for values, name in zip(rows, names, strict=True):
                details = known[name]
                value = self._interpreter.get_tensor(details["index"])
                if value.ndim and len(value) == 1:  # Parts of one image may stand beside it.
                    value = value[0]
                scaled = details["quantization"][0]
                values.append(dequantize(value, details) if scaled else value)
        return [np.stack(values) for values in rows]


def quantize(x: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Turns real numbers into a tensor's own type: `round(x / scale) + zero_point`, saturating.

    Args:
        x: real numbers of any shape.
        details: the tensor's details as the interpreter gives them. An integer tensor without a
            scale takes the numbers as they are, rounded.

    Raises:
        InputError: NaN or infinity for an integer tensor.
    """
    import numpy as np

    dtype = _dtype(details)
    if not np.issubdtype(dtype, np.integer):
        return x.astype(dtype)
    require(bool(np.isfinite(x).all()), "an integer input can't take NaN or infinity")
    scale, zero_point = details["quantization"]
    limits = np.iinfo(dtype)
    steps = np.rint(x / (scale or 1.0)) + zero_point
    return np.clip(steps, limits.min, limits.max).astype(dtype)


def dequantize(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    """Turns a tensor's values into float32: `scale * (value - zero_point)` if it has a scale."""
    import numpy as np

    scale, zero_point = details["quantization"]
    if not np.issubdtype(_dtype(details), np.integer) or not scale:
        return values.astype(np.float32)
    return np.float32(scale) * (values.astype(np.float32) - np.float32(zero_point))


def _dtype(details: dict[str, Any]) -> np.dtype:
    """Returns a tensor's NumPy type."""
    import numpy as np

    return np.dtype(details["dtype"])
