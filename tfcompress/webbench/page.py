"""Makes one HTML file of a runtime, `.tflite` files, an input of each and its right output."""

from __future__ import annotations

import base64
import gzip
import html
import json
import os
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

from tfcompress.benchmark.machine import machine
from tfcompress.benchmark.parity import INTEGER_TOLERANCE, TOLERANCES
from tfcompress.benchmark.probe import References
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.benchmark.table import file_labels
from tfcompress.errors import InputError, require
from tfcompress.tflite import content
from tfcompress.tflite.content import FileContent
from tfcompress.webbench import package

# What LiteRT.js can put into a tensor.
_DTYPES = ("float32", "int32", "uint8")


def make_page(
    paths: Sequence[str | os.PathLike[str]],
    *,
    runs: int = 50,
    min_seconds: float = 1.0,
    compatible: bool = False,
    timeout_s: float = 120.0,
) -> str:
    """Makes a page that times files and needs nothing but a browser.

    Args:
        paths: `.tflite` files of one input and one output; ratios refer to the first.
        runs: timed inferences of each file on each backend, at least.
        min_seconds: how long they go on, at least.
        compatible: whether to put the slower WebAssembly build in, for browsers without relaxed
            SIMD.
        timeout_s: a process that computes a file's outputs is killed after this.

    Returns:
        The HTML.

    Raises:
        InputError: a file isn't a `.tflite` file or doesn't run; the only file has more than one
            input or output, or types that LiteRT.js doesn't take; or LiteRT.js can't be downloaded.
    """
    require(len(paths) > 0, "webbench needs at least one .tflite file")
    require(runs >= 1, f"runs must be 1 or more; got {runs}")
    require(min_seconds >= 0, f"min_seconds must be 0 or more; got {min_seconds}")
    labels = file_labels([os.fspath(path) for path in paths])
    contents = [content.read(path) for path in paths]
    for file in contents:
        require(len(contents) > 1 or not refusal(file), f"{file.path} has {refusal(file)}")
    imports, loader, binary = _scripts(compatible=compatible)
    references = References(timeout_s)
    data = {
        "files": [_entry(file, labels[os.fspath(file.path)], references) for file in contents],
        "runs": runs,
        "min_seconds": min_seconds,
        "compatible": compatible,
        "litertjs": package.CORE.version,
        "reference": f"ai_edge_litert {machine()['ai_edge_litert']}",
        "tolerance": TOLERANCES["fp16"],
        "integer_tolerance": INTEGER_TOLERANCE,
    }
    parts = {
        "@TITLE@": html.escape(", ".join(labels.values())),
        "@IMPORTS@": imports,
        "@DATA@": _script_json(data),
        "@LOADER@": loader,
        "@WASM@": binary,
        "@SCRIPT@": _text("page.js"),
    }
    # In one pass: a file's name may hold such a mark.
    return re.sub("|".join(parts), lambda match: parts[match[0]], _text("page.html"))


def _scripts(*, compatible: bool) -> tuple[str, str, str]:
    """Returns LiteRT.js as the page holds it: its import map, its loader and its WebAssembly."""
    build = "litert_wasm_compat_internal" if compatible else "litert_wasm_internal"
    core, loader, binary = package.read_files(
        package.CORE, ["dist/index.js", f"wasm/{build}.js", f"wasm/{build}.wasm"]
    )
    (utils,) = package.read_files(package.WASM_UTILS, ["dist/bundle.js"])
    imports = {package.CORE.name: _module(core), package.WASM_UTILS.name: _module(utils)}
    return _script_json({"imports": imports}), _base64(loader), _base64(binary)


def refusal(file: FileContent) -> str:
    """Says why a page can't run a file; empty if it can."""
    if len(file.inputs) != 1 or len(file.outputs) != 1:
        return f"{len(file.inputs)} inputs and {len(file.outputs)} outputs; webbench takes 1 and 1"
    odd = [t.dtype for t in (*file.inputs, *file.outputs) if t.dtype not in _DTYPES]
    return f"{odd[0]} at its edge; LiteRT.js takes {', '.join(_DTYPES)}" if odd else ""


def _entry(file: FileContent, label: str, references: References) -> dict[str, Any]:
    """Makes the entry of a file: its bytes, an input, and the CPU's output for that."""
    if refusal(file):
        return {"name": label, "refused": f"it has {refusal(file)}"}
    try:
        answer = references.answer(os.path.abspath(file.path))
    except BenchmarkError as error:
        raise InputError(f"{file.path} doesn't run here: {error.cause}") from error
    with open(file.path, "rb") as opened:
        packed = _base64(opened.read())
    return {
        "name": label,
        "size_bytes": os.path.getsize(file.path),
        "macs": file.macs,
        "gzip": packed,
        "input": answer["inputs"][0],
        "output": answer["outputs"][0],
        "quantized": any(t.quantized for op in file.ops for t in op.outputs),
    }


def _module(source: bytes) -> str:
    """Writes a script as a URL."""
    return f"data:text/javascript;base64,{base64.b64encode(source).decode()}"


def _base64(content: bytes) -> str:
    """Writes bytes as text, compressed by gzip."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _script_json(value: Any) -> str:
    """Writes JSON that can't end the script element that it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")


def _text(name: str) -> str:
    """Reads a file of this package."""
    return resources.files("tfcompress.webbench").joinpath(name).read_text("utf-8")
