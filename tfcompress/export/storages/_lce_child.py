"""The process that larq-compute-engine works in, by a Python of its own that has no tfcompress.

Its first argument is the path of `runtime/child.py`, whose protocol it speaks:
    {"task": "check"} says which version is there.
    {"task": "convert", "folder": a SavedModel, "path": the file to write}
    {"task": "run", "path": ..., "images": a .npy or null, "outputs": the .npy to write,
     "loads": 3} runs images one by one, and times so many loads after.
    {"task": "time", "paths": [...], "rounds": 50} times the files in turns, one thread.

The package's own imports would ask for TensorFlow, which neither its converter's nor its
interpreter's library needs: they are imported past them, as version 0.16 has them.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import importlib.util
import pathlib
import statistics
import sys
import time
import types
from collections.abc import Mapping
from typing import Any

_NAME, _VERSION = "larq_compute_engine", "0.16."


def check(request: Mapping[str, Any], report: Any) -> dict[str, Any]:
    """Imports both libraries; fails if they aren't those that this was written for."""
    import numpy as np

    installed = importlib.metadata.version(_NAME)
    if not installed.startswith(_VERSION):
        raise RuntimeError(f"{_NAME} {installed}, not {_VERSION}*")
    if int(np.__version__.partition(".")[0]) > 1:
        raise RuntimeError(f"numpy {np.__version__}, not below 2")
    converter()
    interpreter_class()
    return {"version": installed}


def convert(request: Mapping[str, Any], report: Any) -> dict[str, Any]:
    """Writes a SavedModel as a file with binary ops."""
    report.stage("convert")
    content = converter().convert_saved_model_to_tflite_flatbuffer(
        request["folder"], ["serve"], ["serving_default"], 1, "arm", None
    )
    pathlib.Path(request["path"]).write_bytes(content)
    return {}


def run(request: Mapping[str, Any], report: Any) -> dict[str, Any]:
    """Runs images and writes the outputs.

    Returns:
        `load_ms` and `peak_memory_bytes`, as `child.measure_memory` does.
    """
    import numpy as np

    report.stage("load", request["path"])
    model = loaded(request["path"])
    report.stage("run", request["path"])
    images = np.zeros(model.input_shapes[0], np.float32)
    if request["images"] is not None:
        images = np.load(request["images"], allow_pickle=False)
    outputs = model.predict(images)
    if request["images"] is not None:
        np.save(request["outputs"], outputs)
    peak = child.peak_memory_bytes()
    loads_ms = []
    for _ in range(request["loads"]):
        start = time.perf_counter()
        loaded(request["path"])
        loads_ms.append(1000 * (time.perf_counter() - start))
    return {"load_ms": statistics.median(loads_ms), "peak_memory_bytes": peak}


def timed(request: Mapping[str, Any], report: Any) -> dict[str, Any]:
    """Times files in turns.

    Returns:
        `latency_ms`: a list for each file.
    """
    import numpy as np

    models = []
    for path in request["paths"]:
        report.stage("load", path)
        models.append(loaded(path))
    random = np.random.default_rng(0)
    image = random.standard_normal(models[0].input_shapes[0]).astype("float32")
    latency_ms: list[list[float]] = [[] for _ in models]
    for _ in range(request["rounds"] + 1):
        for model, taken in zip(models, latency_ms, strict=True):
            start = time.perf_counter()
            model.predict(image)
            taken.append(1000 * (time.perf_counter() - start))
    return {"latency_ms": [taken[1:] for taken in latency_ms]}  # The first one warms up.


def converter() -> Any:
    """Imports the converter's library."""
    return importlib.import_module(f"{_NAME}.mlir._tf_tfl_flatbuffer")


def interpreter_class() -> Any:
    """Imports the interpreter's library and returns its class."""
    importlib.import_module(f"{_NAME}.tflite.python.interpreter_wrapper_lite")
    return importlib.import_module(f"{_NAME}.tflite.python.interpreter").Interpreter


def loaded(path: str) -> Any:
    """Loads a file and allocates its tensors; floats go to XNNPACK, as in LiteRT."""
    data = pathlib.Path(path).read_bytes()
    return interpreter_class()(data, use_indirect_bgemm=True, use_xnnpack=True)


def _module(path: str) -> Any:
    """Imports a module from its file, without the package around it."""
    spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _bare(name: str) -> None:
    """Makes a package's modules importable without running its `__init__`."""
    spec = importlib.machinery.PathFinder.find_spec(name)
    if spec is not None:
        package = types.ModuleType(name)
        package.__path__ = list(spec.submodule_search_locations or ())
        sys.modules[name] = package


if __name__ == "__main__":
    child = _module(sys.argv[1])
    _bare(_NAME)
    sys.exit(child.serve({"check": check, "convert": convert, "run": run, "time": timed}))
