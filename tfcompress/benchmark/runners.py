"""Loads files on a backend and runs them, in the measuring process.

It imports ai_edge_litert when a file is loaded, and nothing heavier than NumPy. Tensors go by their
place in the file's main graph, which every backend knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from tfcompress.runtime.child import make_input
from tfcompress.runtime.interpreter import open_file

if TYPE_CHECKING:
    import numpy as np


class Runner(Protocol):
    """A file that is loaded on a backend."""

    def feed(self, seed: int) -> dict[int, np.ndarray]:
        """Puts fixed values into the inputs, where they stay from run to run, and returns them."""

    def invoke(self) -> None:
        """Runs one inference, until the outputs are in this process's memory."""

    def outputs(self) -> dict[int, np.ndarray]:
        """Returns the last inference's outputs by their place in the file."""


def load(path: str, backend: dict[str, Any], *, threads: int) -> Runner:
    """Loads a file on a backend and allocates or compiles it.

    Args:
        path: the `.tflite` file.
        backend: as `tfcompress.benchmark.backends.Backend.to_json` gives it.
        threads: CPU threads of an inference.
    """
    if backend["kind"] in ("gpu", "gpu+cpu"):
        return GpuRunner(path, backend, threads=threads)
    return LiteRunner(path, backend, threads=threads)


class LiteRunner:
    """A file in LiteRT's interpreter, with XNNPACK, a delegate of the user's, or neither.

    Without a delegate of the user's, 1-bit ops go to tfcompress's kernels, and a file with several
    signatures runs as `tfcompress.load` would run it.

    Args:
        path: the `.tflite` file.
        backend: `cpu`, `cpu-noxnn` or a delegate; with the latter, XNNPACK takes what it left, as
            in an app.
        threads: CPU threads of an inference.
        delegate_only: whether XNNPACK stays away, so that the delegate took all ops that are gone.

    Attributes:
        signature: the signature that runs; None if the file hasn't several.
        because: why that isn't the 1-bit one, if nobody asked for it; else empty.
        slow: why its 1-bit ops run slower than LiteRT's own kernels would; else empty.
    """

    def __init__(
        self, path: str, backend: dict[str, Any], *, threads: int, delegate_only: bool = False
    ) -> None:
        delegates: list[Any] | None = None
        if backend["library"]:
            from ai_edge_litert.interpreter import load_delegate

            delegates = [load_delegate(backend["library"], backend["options"])]
        opened = open_file(
            path,
            threads=threads,
            xnnpack=not delegate_only and backend["kind"] != "cpu-noxnn",
            signature=backend["signature"],
            delegates=delegates,
        )
        self._interpreter, self.signature = opened.interpreter, opened.signature
        self.because, self.slow = opened.because, opened.slow
        self.invoke = self._interpreter.invoke

    def feed(self, seed: int) -> dict[int, np.ndarray]:
        """See `Runner`."""
        details = self._interpreter.get_input_details()
        values = {each["index"]: make_input(each, seed + each["index"]) for each in details}
        for place, array in values.items():
            self._interpreter.set_tensor(place, array)
        return values

    def outputs(self) -> dict[int, np.ndarray]:
        """See `Runner`."""
        places = [details["index"] for details in self._interpreter.get_output_details()]
        return {place: self._interpreter.get_tensor(place) for place in places}

    def scales(self) -> dict[int, tuple[float, int]]:
        """Returns the scale and zero point of each output; 0 and 0 if it has none."""
        details = self._interpreter.get_output_details()
        return {each["index"]: each["quantization"] for each in details}

    def taken_ops(self, file_ops: int) -> int:
        """Counts the file's ops that a delegate has replaced.

        A delegate's op stands behind the file's own ones, and lists only the tensors that go in and
        come out; the ops in between are found by walking back from what comes out.

        Args:
            file_ops: the number of ops in the file's main graph.
        """
        ops = self._interpreter._get_ops_details()
        producers = {int(place): op for op in ops[:file_ops] for place in op["outputs"]}
        taken: set[int] = set()
        for delegate in ops[file_ops:]:
            inside = {int(place) for place in delegate["inputs"]}
            waiting = [int(place) for place in delegate["outputs"]]
            while waiting:
                place = waiting.pop()
                if place in inside or place not in producers:
                    continue
                inside.add(place)
                taken.add(int(producers[place]["index"]))
                waiting += [int(before) for before in producers[place]["inputs"]]
        return len(taken)


class GpuRunner:
    """A file compiled for LiteRT's GPU accelerator: WebGPU, or Metal on a Mac.

    The accelerator's benchmark mode stays off: it refuses files that an app would run and get
    wrong results from. So `invoke` reads the outputs, which waits for the GPU.

    Args:
        path: the `.tflite` file.
        backend: `gpu` or `gpu+cpu`, with its precision.
        threads: CPU threads for what stays on the CPU.
    """

    def __init__(self, path: str, backend: dict[str, Any], *, threads: int) -> None:
        import numpy as np
        from ai_edge_litert.compiled_model import (
            CompiledModel,
            CpuOptions,
            GpuOptions,
            HardwareAccelerator,
            Options,
        )

        accelerators = HardwareAccelerator.GPU
        if backend["kind"] == "gpu+cpu":
            accelerators |= HardwareAccelerator.CPU
        options = Options(
            accelerators,
            cpu_options=CpuOptions(num_threads=threads),
            gpu_options=GpuOptions(enforce_f32=backend["precision"] == "fp32"),
        )
        self._model = CompiledModel.from_file(path, options=options)
        signature = self._model.get_signature_by_index(0)
        inputs = self._model.get_input_tensor_details(signature["key"])
        outputs = self._model.get_output_tensor_details(signature["key"])
        self._input_details = [inputs[name] for name in signature["inputs"]]
        self._inputs = self._model.create_input_buffers(0)
        self._outputs = self._model.create_output_buffers(0)
        self._reads = []
        for name, buffer in zip(signature["outputs"], self._outputs, strict=True):
            shape, dtype = tuple(outputs[name]["shape"]), np.dtype(outputs[name]["dtype"])
            count = int(np.prod(shape, dtype=np.int64))
            self._reads.append((outputs[name]["index"], buffer, count, dtype, shape))
        self._values: dict[int, np.ndarray] = {}

    def feed(self, seed: int) -> dict[int, np.ndarray]:
        """See `Runner`."""
        values = {
            each["index"]: make_input(each, seed + each["index"]) for each in self._input_details
        }
        for array, buffer in zip(values.values(), self._inputs, strict=True):
            buffer.write(array)
        return values

    def invoke(self) -> None:
        """See `Runner`."""
        self._model.run_by_index(0, self._inputs, self._outputs)
        for place, buffer, count, dtype, _ in self._reads:
            self._values[place] = buffer.read(count, dtype)

    def outputs(self) -> dict[int, np.ndarray]:
        """See `Runner`."""
        return {place: self._values[place].reshape(shape) for place, _, _, _, shape in self._reads}
