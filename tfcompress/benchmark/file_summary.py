"""Summarizes what stands in a `.tflite` file: ops, tensors, bytes, metadata, who can run it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfcompress import kernels
from tfcompress.benchmark import lint, sizes
from tfcompress.benchmark.machine import machine, machine_line
from tfcompress.console import table
from tfcompress.runtime import process
from tfcompress.runtime.delegates import has_bit_ops
from tfcompress.tflite import (
    compatibility,
    content,
    metadata,
    signatures,
    versions,
    weighted_ops,
)
from tfcompress.tflite.compatibility import CompatibilityIssue
from tfcompress.tflite.content import FileContent, Tensor
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.signatures import BITS

# Constants that the text shows unless all are asked for.
LARGEST = 8
# Of a line, in characters, unless the terminal is narrower.
WIDTH = 120
# Values of a metadata field that the text shows.
_MOST_VALUES = 20


def summarize(path: str) -> dict[str, Any]:
    """Loads and runs a file once in a process of its own, then reads what stands in it.

    Args:
        path: of the file.

    Returns:
        JSON values, as `python -m tfcompress.inspect --json` prints them.

    Raises:
        InputError: the file isn't a `.tflite` file, is corrupt, or crashed the process.
    """
    summary, here = describe(path, process.check(path)), machine()
    tried = (
        f"{process.trial(Path(path))}, LiteRT {here['ai_edge_litert']}, "
        f"{here['cpu'] or 'an unnamed CPU'}: no proof that it is harmless"
    )
    bit_ops = _bit_ops(path, summary["signatures"])
    return {**summary, **bit_ops, "tried": tried, "machine": here}


def describe(path: str, runtime_error: str | None) -> dict[str, Any]:
    """Reads what stands in a file, as `summarize` does, and runs nothing.

    Args:
        path: of the file.
        runtime_error: why the runtime couldn't run the file; None if it could.
    """
    file = content.read(path)
    file_metadata = metadata.read(path)
    # What every program runs; the other signatures are for those that ask for them.
    main = file.of()
    oldest = versions.oldest(main)
    names = signatures.io_names(path, None)
    return {
        "path": str(path),
        "size_bytes": sizes.size_bytes(path),
        "gzip_bytes": sizes.gzip_bytes(path),
        "macs": file.macs,
        "uncounted_ops": list(file.uncounted),
        "inputs": _named(file.inputs, names[0]),
        "outputs": _named(file.outputs, names[1]),
        "signatures": [signature.name for signature in file.signatures],
        "ops": _ops_of_all_signatures(file),
        "weight_bytes": dict(file.weight_bytes),
        "arithmetic": weighted_ops.arithmetic(main),
        "constants": [
            {**_tensor(tensor), "size_bytes": tensor.size_bytes} for tensor in file.constants
        ],
        "metadata": file_metadata.to_json() if file_metadata else None,
        "oldest_runtime": {
            "tensorflow_lite": oldest.release,
            "litert": oldest.litert,
            "because": oldest.because,
            "unknown": list(oldest.unknown),
        },
        "runs_here": runtime_error is None,
        "runtime_said": runtime_error,
        "issues": [
            {"who": issue.who, "text": str(issue)} for issue in _issues(file, file_metadata)
        ],
    }


def _bit_ops(path: str, signatures: Sequence[str]) -> dict[str, str | None]:
    """Says which kernel runs a file's 1-bit ops here, or why none does; None without such ops."""
    if not has_bit_ops(path):
        return {"bit_kernel": None, "bit_ops": None}
    kernel, missing = kernels.active(), kernels.missing()
    if missing and BITS in signatures:
        text = f"don't run here, the other signature does: {missing}"
    elif missing and kernel is None:
        text = f"don't run here: {missing}"
    else:
        text = kernels.slow() or f"run by the {kernel} kernel"
    return {"bit_kernel": kernel, "bit_ops": text}


def _issues(file: FileContent, file_metadata: Metadata | None) -> list[CompatibilityIssue]:
    """Lists what runtimes may refuse in a file or get wrong."""
    main = file.of()
    return [
        *compatibility.never(main),
        *(
            dataclasses.replace(issue, who=f"signature {name}")
            for name in _other_signatures(file)
            for issue in compatibility.never(file.of(name))
        ),
        *compatibility.old(file),
        *compatibility.gpu(main),
        *(CompatibilityIssue("GPU", text) for text in lint.gpu_warnings(file)),
        *compatibility.mediapipe(file, file_metadata),
    ]


def _other_signatures(file: FileContent) -> list[str]:
    """Names the signatures that don't run the main graph."""
    return [signature.name for signature in file.signatures if signature.subgraph]


def _ops_of_all_signatures(file: FileContent) -> list[dict[str, Any]]:
    """Lists the kinds of ops of the main graph, then those of the other signatures."""
    main = file.of()
    name = next((signature.name for signature in main.signatures), "")
    kinds = _ops(main, name)
    for other in _other_signatures(file):
        kinds += _ops(file.of(other), other)
    return kinds


def _ops(file: FileContent, signature: str) -> list[dict[str, Any]]:
    """Lists each op, version and types with how often it occurs, the most frequent first."""
    counts = collections.Counter(
        (op.name, op.version, " ".join(tensor.dtype if tensor else "-" for tensor in op.inputs))
        for op in file.ops
    )
    return [
        {
            "signature": signature,
            "name": name,
            "version": version,
            "count": count,
            "types": types,
            "since": versions.release_of(name, version) or "unknown",
        }
        for (name, version, types), count in counts.most_common()
    ]


def _named(tensors: Sequence[Tensor], names: Mapping[int, list[str]]) -> list[dict[str, Any]]:
    """Turns inputs or outputs into JSON values, with the signature's names for them."""
    return [
        {
            **_tensor(tensor),
            "signature_name": next(iter(names.get(tensor.number, ())), None),
            "open_axes": list(tensor.open_axes),
        }
        for tensor in tensors
    ]


def _tensor(tensor: Tensor) -> dict[str, Any]:
    """Turns a tensor into JSON values."""
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def summary_text(summary: Mapping[str, Any], *, all_constants: bool = False) -> str:
    """Lays a summary out in tables that a person reads.

    Args:
        summary: as `summarize` or `describe` returns it.
        all_constants: whether all constants are shown, and not the largest only.
    """
    parts = [_facts(summary), _op_table(summary)]
    if summary["constants"]:
        parts.append(_constant_table(summary["constants"], all_constants=all_constants))
    if summary["metadata"]:
        fields = vars(Metadata(**summary["metadata"]))
        rows = [{"field": key, "value": _one_line(value)} for key, value in fields.items() if value]
        parts.append(_table(rows, {"field": "metadata", "value": ""}))
    if summary["issues"]:
        parts.append(_table(summary["issues"], {"who": "who", "text": "may refuse or get wrong"}))
    return "\n\n".join(parts)


def _facts(summary: Mapping[str, Any]) -> str:
    """Lays out the facts that take a line each."""
    macs = f"{summary['macs']:,}" if summary["macs"] is not None else "unknown"
    if summary["uncounted_ops"]:
        macs += f": {', '.join(summary['uncounted_ops'])} can't be counted"
    weights = ", ".join(f"{size:,} {dtype}" for dtype, size in summary["weight_bytes"].items())
    signatures = summary["signatures"]
    rows = {
        "file": summary["path"],
        "bytes": f"{summary['size_bytes']:,}, {summary['gzip_bytes']:,} after gzip",
        "weights": f"{weights or 'no'} bytes",
        **({"computes by": _arithmetic(summary)} if summary.get("arithmetic") else {}),
        "multiply-accumulates": macs,
        "in": _types_and_shapes(summary["inputs"]),
        "out": _types_and_shapes(summary["outputs"]),
        **({"signatures": ", ".join(signatures)} if len(signatures) > 1 else {}),
        "oldest runtime": _oldest_runtime(summary["oldest_runtime"]),
        "here": "loads and runs" if summary["runs_here"] else summary["runtime_said"],
        **({"tried": summary["tried"]} if "tried" in summary else {}),
        **({"1-bit ops": summary["bit_ops"]} if summary.get("bit_ops") else {}),
        **({"machine": machine_line(summary["machine"])} if "machine" in summary else {}),
    }
    return table(rows.items(), width=WIDTH)


def _arithmetic(summary: Mapping[str, Any]) -> str:
    """Says how the ops with weights compute, and of several kinds how many ops do."""
    kinds = summary["arithmetic"]
    if len(kinds) == 1:
        return str(kinds[0]["text"])
    return "; ".join(f"{kind['text']}: {kind['ops']} ops" for kind in kinds)


def _oldest_runtime(oldest: Mapping[str, Any]) -> str:
    """Names the oldest runtime that runs a file, and why no older one does."""
    runtime = f"TensorFlow Lite {oldest['tensorflow_lite']}"
    if oldest["litert"]:
        runtime += f", LiteRT {oldest['litert']}"
    runtime += f" ({oldest['because']})"
    if oldest["unknown"]:
        return f"at least {runtime}; unknown: {', '.join(oldest['unknown'])}"
    return runtime


def _op_table(summary: Mapping[str, Any]) -> str:
    """Lays out the kinds of ops."""
    several = len(summary["signatures"]) > 1
    columns = {
        **({"signature": "signature"} if several else {}),
        "name": "op",
        "version": "version",
        "count": "count",
        "types": "types",
        "since": "since",
    }
    return _table(summary["ops"], columns)


def _constant_table(constants: Sequence[Mapping[str, Any]], *, all_constants: bool) -> str:
    """Lays out constants, the largest first, and says how many aren't shown."""
    shown = constants if all_constants else constants[:LARGEST]
    rows = [
        {
            **constant,
            "shape": "x".join(map(str, constant["shape"])),
            "bytes": f"{constant['size_bytes']:,}",
        }
        for constant in shown
    ]
    columns = {"name": "constant", "dtype": "type", "shape": "shape", "bytes": "bytes"}
    left = len(constants) - len(shown)
    more = f"\nand {left} smaller ones; --tensors shows them" if left else ""
    return _table(rows, columns) + more


def _types_and_shapes(tensors: Sequence[Mapping[str, Any]]) -> str:
    """Says the inputs' or outputs' types and shapes, with their names where there are several.

    A size that isn't fixed is marked: `float32 1 x any (20) x 6`.
    """
    texts = []
    for tensor in tensors:
        open_axes = tensor.get("open_axes", ())
        sizes = (
            f"any ({size})" if axis in open_axes else str(size)
            for axis, size in enumerate(tensor["shape"])
        )
        text = f"{tensor['dtype']} {' x '.join(sizes)}"
        name = tensor.get("signature_name") or tensor["name"]
        texts.append(f"{name}: {text}" if len(tensors) > 1 else text)
    return "; ".join(texts)


def _one_line(value: Any) -> str:
    """Puts a field of the metadata on one line; of a long list, the first values."""
    if isinstance(value, str):
        return " ".join(value.split())
    texts = [item if isinstance(item, str) else f"{item:g}" for item in value]
    left = len(texts) - _MOST_VALUES
    return ", ".join(texts[:_MOST_VALUES]) + (f", and {left} more" if left > 0 else "")


def _table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> str:
    """Lays out the rows' values of these keys, under these headers."""
    cells = [[row[key] for key in columns] for row in rows]
    return table(cells, list(columns.values()), width=WIDTH)
