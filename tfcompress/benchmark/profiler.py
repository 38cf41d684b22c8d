"""Times ops in the measuring process, with LiteRT's own profiler and its C interface.

The Python interface has no profiler, but libLiteRt.so has. The structures below are those of the
versions in `CHECKED`, and another version might read nonsense or crash. So callers ask
`unavailable` first, and all of this runs in a process of its own.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import time
from collections.abc import Mapping
from typing import Any

from tfcompress.benchmark.runners import load

# Major and minor version of ai-edge-litert whose structures were checked by hand.
CHECKED = ("2.3",)
_CPU = 1
_WRITE = 1
# Kinds of events: an op of the file, and an op of XNNPACK in the place of ops of the file.
_OP_EVENTS = frozenset({2, 8})
MAX_RUNS = 2000
MAX_SECONDS = 30.0


def unavailable() -> str:
    """Says why ops can't be timed here; empty if they can."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return "op times were checked on Linux x86-64 only"
    version = importlib.metadata.version("ai-edge-litert")
    if ".".join(version.split(".")[:2]) not in CHECKED:
        return f"op times were checked with LiteRT {', '.join(CHECKED)}; this is {version}"
    return "" if library().is_file() else f"{library()} is missing"


def library() -> pathlib.Path:
    """Finds the C library without loading the package."""
    spec = importlib.util.find_spec("ai_edge_litert")
    origin = spec.origin if spec else None
    return pathlib.Path(origin or "").parent / "libLiteRt.so"


class _Layout(ctypes.Structure):
    _fields_ = [
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("sizes", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]


class _TensorType(ctypes.Structure):
    _fields_ = [("element", ctypes.c_int), ("layout", _Layout)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start_us", ctypes.c_uint64),
        ("elapsed_us", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


_DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@_DELETER
def _do_not_free(_: int | None) -> None:
    """Does nothing when LiteRT needs an option's text no more: Python owns that text."""


class ProfiledModel:
    """A file compiled for the CPU, whose ops can be timed.

    Args:
        path: the `.tflite` file.
        threads: CPU threads of an inference.
        xnnpack: whether XNNPACK takes what it can.

    Raises:
        RuntimeError: a call of the C library failed; the message names it and its status.
    """

    def __init__(self, path: str, *, threads: int, xnnpack: bool) -> None:
        assert ctypes.sizeof(_Event) == 104
        self._library = ctypes.CDLL(os.fspath(library()))
        self._environment = self._create("LiteRtCreateEnvironment", 0, None)
        model = self._create("LiteRtCreateModelFromFile", self._environment, os.fsencode(path))
        options = self._create("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        mode = "delegate" if xnnpack else "builtin"
        self._texts = []
        for name, text in (
            ("runtime_options_string", "enable_profiling = true\n"),
            ("xnnpack", f'kernel_mode = "{mode}"\nnum_threads = {threads}\n'),
        ):
            buffer = ctypes.create_string_buffer(text.encode())
            self._texts.append(buffer)  # It must live as long as the options.
            address = ctypes.cast(buffer, ctypes.c_void_p)
            opaque = self._create("LiteRtCreateOpaqueOptions", name.encode(), address, _do_not_free)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        self._model = self._create("LiteRtCreateCompiledModel", self._environment, model, options)
        signature = self._create("LiteRtGetModelSignature", model, ctypes.c_size_t(0))
        self._inputs = self._buffers(signature, "Input")
        self._outputs = self._buffers(signature, "Output")
        self._profiler = self._create("LiteRtCompiledModelGetProfiler", self._model)

    def run(self) -> None:
        """Runs one inference."""
        self._call(
            "LiteRtRunCompiledModel",
            self._model,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(self._inputs)),
            self._inputs,
            ctypes.c_size_t(len(self._outputs)),
            self._outputs,
        )

    def timed_ops(self) -> list[tuple[str, int]]:
        """Runs one inference and returns, per op, its name and whole microseconds."""
        self._call("LiteRtResetProfiler", self._profiler)
        self._call("LiteRtStartProfiler", self._profiler)
        self.run()
        self._call("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        events = (_Event * count.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, count, events)
        return [
            (event.tag.decode("utf-8", "replace"), event.elapsed_us)
            for event in events
            if event.kind in _OP_EVENTS
        ]

    def _buffers(self, signature: ctypes.c_void_p, side: str) -> Any:
        """Makes a buffer for each input or output; inputs are filled."""
        count = ctypes.c_size_t()
        self._call(f"LiteRtGetNumSignature{side}s", signature, ctypes.byref(count))
        buffers = []
        for index in map(ctypes.c_size_t, range(count.value)):
            tensor = self._create(f"LiteRtGetSignature{side}TensorByIndex", signature, index)
            kind = _TensorType()
            self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
            requirements = self._create(
                f"LiteRtGetCompiledModel{side}BufferRequirements",
                self._model,
                ctypes.c_size_t(0),
                index,
            )
            create = "LiteRtCreateManagedTensorBufferFromRequirements"
            buffer = self._create(create, self._environment, ctypes.byref(kind), requirements)
            if side == "Input":
                self._fill(buffer, kind)
            buffers.append(buffer)
        return (ctypes.c_void_p * len(buffers))(*[buffer.value for buffer in buffers])

    def _fill(self, buffer: ctypes.c_void_p, kind: _TensorType) -> None:
        """Fills a float32 input with standard normal numbers, any other with zeros."""
        import numpy as np

        size = ctypes.c_size_t()
        self._call("LiteRtGetTensorBufferPackedSize", buffer, ctypes.byref(size))
        values = np.zeros(size.value, np.uint8)
        if kind.element == 1:
            floats = np.random.default_rng(0).standard_normal(size.value // 4)
            values = floats.astype(np.float32)
        address = ctypes.c_void_p()
        self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(address), _WRITE)
        ctypes.memmove(address, values.ctypes.data, values.nbytes)
        self._call("LiteRtUnlockTensorBuffer", buffer)

    def _create(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Calls a function and returns the pointer that it puts into its last parameter."""
        pointer = ctypes.c_void_p()
        self._call(name, *arguments, ctypes.byref(pointer))
        return pointer

    def _call(self, name: str, *arguments: Any) -> None:
        """Calls a function that returns a status."""
        function = getattr(self._library, name)
        function.restype = ctypes.c_int
        status = function(*arguments)
        if status:
            raise RuntimeError(f"{name} failed with status {status}")


def op_times(path: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs a file again and again and times its ops, in turns with unprofiled runs.

    Args:
        path: the `.tflite` file.
        request: `backend`, `threads`, `seed`, and at least how many `runs` and `seconds`.

    Returns:
        `names`, `elapsed_us` (per run, per op) and `plain_us`: the unprofiled runs' times.
        Runs whose ops aren't those of the first run are left out.
    """
    model = ProfiledModel(
        path, threads=request["threads"], xnnpack=request["backend"]["kind"] == "cpu"
    )
    plain = load(path, request["backend"], threads=request["threads"])
    plain.feed(request["seed"])
    for _ in range(3):
        model.timed_ops()
        plain.invoke()
    names = [name for name, _ in model.timed_ops()]
    elapsed_us: list[list[int]] = []
    plain_us: list[float] = []
    began = time.perf_counter()
    while len(plain_us) < request["runs"] or time.perf_counter() - began < request["seconds"]:
        # Each once untimed: the other's weights are in the caches.
        model.run()
        ops = model.timed_ops()
        if [name for name, _ in ops] == names:
            elapsed_us.append([us for _, us in ops])
        plain.invoke()
        start = time.perf_counter_ns()
        plain.invoke()
        plain_us.append((time.perf_counter_ns() - start) / 1e3)
        if len(plain_us) >= MAX_RUNS or time.perf_counter() - began > MAX_SECONDS:
            break
    return {"names": names, "elapsed_us": elapsed_us, "plain_us": plain_us}
