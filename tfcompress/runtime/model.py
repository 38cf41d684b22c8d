"""Runs a `.tflite` file on arrays, whatever its inputs and outputs are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line
from tfcompress.runtime.delegate_line import drop_delegate_line
from tfcompress.runtime.interpreter import open_file
from tfcompress.runtime.io_tensors import dequantize, io_tensors, quantize
from tfcompress.runtime.rows import Rows
from tfcompress.tflite import header, metadata

if TYPE_CHECKING:
    import numpy as np


class LiteModel:
    """A `.tflite` file, ready to predict: arrays in, arrays out.

    Several inputs are given by their names, and several outputs come by theirs: those of the Keras
    model in a file that tfcompress wrote, else those of the file's signature. Where a size isn't
    fixed, such as a sequence's length, each call may bring another.

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
        inputs: what the file takes, in its order: name, shape and type of each.
        outputs: what it gives, likewise.
        input_shape: shape of the first input, batch first; 1 stands for a size that isn't fixed
            unless the file has a usual one.
        output_shape: shape of the first output, batch first.
        input_dtype: the first input's type, such as `float32` or `int8`.
        output_dtype: the first output's type.
        input_grid: scale and zero point of a first input of integers; the scale is 0 if it has
            none.

    Raises:
        InputError: the file is missing, not a `.tflite` file, cut short or corrupt, needs ops that
            the runtime lacks, or has inputs or outputs without the batch first; it has only 1-bit
            ops, and the kernels can't be built here; it has no such signature; or threads is below
            1.

    Example:
        >>> model = LiteModel("compressed.tflite")  # doctest: +SKIP
        >>> model.predict(images).argmax(axis=-1)  # doctest: +SKIP
        >>> two = LiteModel("two_inputs.tflite")  # doctest: +SKIP
        >>> two.predict({"image": images, "table": rows})["price"]  # doctest: +SKIP
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
            self.inputs, self.outputs = io_tensors(opened.interpreter, path, opened.signature)
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
            len(self.inputs) > 0 and len(self.outputs) > 0,
            f"{path} has {len(self.inputs)} inputs and {len(self.outputs)} outputs: there is "
            "nothing to predict",
        )
        first, last = self.inputs[0], self.outputs[0]
        ends = (*self.inputs, *self.outputs)
        require(
            {end.shape[:1] for end in ends} == {first.shape[:1]} != {()},
            f"{path} maps {_and(end.shape for end in self.inputs)} to "
            f"{_and(end.shape for end in self.outputs)}; predict needs the batch first",
        )
        self.input_shape, self.output_shape = first.shape, last.shape
        self.input_dtype, self.output_dtype = first.dtype, last.dtype
        self.input_grid: tuple[float, int] = first.details["quantization"]
        self._fed = [end.shape for end in self.inputs]  # The interpreter's own shapes now.
        known = metadata.read(path) if self._takes_bytes_of_an_image() else None
        self._mean, self._std = (known.mean, known.std) if known is not None else ((), ())

    def predict(self, x: Any) -> Any:
        """Computes the outputs for a stack of inputs, at the file's own batch size.

        Args:
            x: real numbers of shape (n, ...), as the Keras model takes them: an array for one
                input; for several a dictionary by the inputs' names, or a list in their order.
                Numbers are quantised with the input's scale where the file takes integers for
                them, or become the pixels that they were, by the normalisation in its metadata.

        Returns:
            An array of shape (n, ...) for one output, for several a dictionary by their names:
            float32, dequantised where the file gives integers with a scale. Other integers and
            truth values come as they are.

        Raises:
            InputError: the names or shapes aren't the file's, or an input of integers got NaN or
                infinity.
        """
        values = self.run(self.rows(x))
        if len(values) == 1:
            return values[0]
        return dict(zip((end.name for end in self.outputs), values, strict=True))

    __call__ = predict

    def rows(self, x: Any) -> Rows:
        """Returns the inputs of a call in the file's order.

        Args:
            x: as `predict` takes them.

        Raises:
            InputError: a name that isn't an input's, a missing input, or arrays that don't belong
                together.
        """
        import numpy as np

        if isinstance(x, Rows):
            return x
        names = [end.name for end in self.inputs]
        if isinstance(x, Mapping):
            one = len(names) == len(x) == 1  # Whatever it is called.
            require(
                one or set(x) == set(names),
                f"{self.path} takes the inputs {', '.join(names)}; got {', '.join(map(str, x))}",
            )
            return Rows(np.asarray(value) for value in (x.values() if one else map(x.get, names)))
        if len(names) == 1:
            return Rows([np.asarray(x)])
        require(
            isinstance(x, list | tuple) and len(x) == len(names),
            f"{self.path} takes {len(names)} inputs: give a dictionary with {', '.join(names)}, or "
            f"a list in this order; got {_received(x)}",
        )
        return Rows(np.asarray(value) for value in x)

    def run(self, x: np.ndarray | Rows, *, own_types: bool = False) -> list[np.ndarray]:
        """Computes the outputs in the file's order; `predict` tells what goes in and comes out.

        Args:
            x: rows of the inputs, in the file's order; of one input its array.
            own_types: whether the arrays have the inputs' own types, and go in as they are:
                integers that stand for real numbers, such as pixels.
        """
        import numpy as np

        rows = Rows.of(x)
        self._check_shapes(rows)
        self._resize([tuple(array.shape[1:]) for array in rows.arrays])
        batch = self.input_shape[0]
        values: list[np.ndarray] = []
        for start in range(0, len(rows), batch):
            count = min(batch, len(rows) - start)
            for end, array in zip(self.inputs, rows.arrays, strict=True):
                part = array[start : start + count]
                if count < batch:  # The last part, in a file whose batch is fixed above 1.
                    rest = np.zeros((batch - count, *part.shape[1:]), part.dtype)
                    part = np.concatenate([part, rest])
                if not own_types:
                    part = quantize(part, end.details, self._mean, self._std)
                self._interpreter.set_tensor(end.details["index"], part)
            self._invoke()
            for number, end in enumerate(self.outputs):
                got = self._interpreter.get_tensor(end.details["index"])
                part = dequantize(got, end.details)[:count]
                if start == 0:
                    values.append(np.empty((len(rows), *part.shape[1:]), part.dtype))
                values[number][start : start + count] = part
        if values:
            return values
        return [np.empty((0, *end.shape[1:]), np.float32) for end in self.outputs]

    def _takes_bytes_of_an_image(self) -> bool:
        """Returns whether the only input is bytes that stand for an image's real numbers."""
        image = len(self.inputs) == 1 and len(self.input_shape) == 4
        return image and self.input_dtype == "uint8" and bool(self.input_grid[0])

    def _check_shapes(self, rows: Rows) -> None:
        """Refuses arrays of other shapes than the file's."""
        for end, array in zip(self.inputs, rows.arrays, strict=True):
            sizes = end.sizes[1:]
            require(
                array.dtype.kind in "biuf",
                f"{self.path} takes numbers; got an array of {array.dtype}",
            )
            shown = ", ".join(["n", *("any" if size is None else str(size) for size in sizes)])
            which = f" for '{end.name}'" if len(self.inputs) > 1 else ""
            require(
                array.ndim == len(sizes) + 1
                and all(a in (None, b) for a, b in zip(sizes, array.shape[1:], strict=True)),
                f"{self.path} takes inputs of shape ({shown}){which}; got {tuple(array.shape)}",
            )

    def _resize(self, shapes: Sequence[tuple[int, ...]]) -> None:
        """Makes the interpreter ready for inputs of these shapes, without the batch."""
        if [shape[1:] for shape in self._fed] == list(shapes):
            return
        wanted = [(self.input_shape[0], *shape) for shape in shapes]
        try:
            for end, shape in zip(self.inputs, wanted, strict=True):
                self._interpreter.resize_tensor_input(end.details["index"], shape)
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise self._refused(wanted, error) from error
        self._fed = wanted

    def _invoke(self) -> None:
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise self._refused(self._fed, error) from error

    def _refused(self, shapes: Sequence[tuple[int, ...]], error: Exception) -> InputError:
        return InputError(
            f"{self.path} can't be run on inputs of shape {_and(shapes)}: {header.one_line(error)}"
        )

    def tensors(self, x: np.ndarray | Rows, names: Sequence[str]) -> list[np.ndarray]:
        """Computes the values of tensors inside the file; the model must be made with `keep_all`.

        Args:
            x: as `run` takes them; the file's batch must be 1.
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
        inputs, rows = Rows.of(x), [list[np.ndarray]() for _ in names]
        for row in range(len(inputs)):
            self.run(inputs[row : row + 1])
            for values, name in zip(rows, names, strict=True):
                details = known[name]
                value = self._interpreter.get_tensor(details["index"])
                if value.ndim and len(value) == 1:  # Parts of one image may stand beside it.
                    value = value[0]
                scaled = details["quantization"][0]
                values.append(dequantize(value, details) if scaled else value)
        return [np.stack(values) for values in rows]


def _and(shapes: Iterable[tuple[int, ...]]) -> str:
    """Writes shapes behind one another."""
    return " and ".join(map(str, shapes))


def _received(x: Any) -> str:
    """Says what a caller gave."""
    if isinstance(x, list | tuple):
        return f"{len(x)}"
    shape = getattr(x, "shape", None)
    return f"one array of shape {tuple(shape)}" if shape is not None else type(x).__name__
