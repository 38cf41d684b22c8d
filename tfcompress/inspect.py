"""The command `python -m tfcompress.inspect`: what stands in a `.tflite` file, in tables."""

from __future__ import annotations

import collections
import dataclasses
import json
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcompress import commands
from tfcompress.benchmark import lint, sizes
from tfcompress.console import table
from tfcompress.errors import require
from tfcompress.runtime import process
from tfcompress.tflite import compatibility, content, metadata, versions
from tfcompress.tflite.compatibility import CompatibilityIssue
from tfcompress.tflite.content import FileContent, Tensor
from tfcompress.tflite.metadata import Metadata

USAGE = """Shows what stands in a .tflite file: ops, tensors, bytes, metadata, who can run it.

  python -m tfcompress.inspect m.tflite
  python -m tfcompress.inspect m.tflite --tensors
  python -m tfcompress.inspect m.tflite --json > m.json

The file is first loaded and run once in a process of its own, so that a corrupt one does no harm.
Exit status: 0 done, 2 bad usage or a bad file.

Flags:"""
# Constants that are shown unless --tensors asks for all.
LARGEST = 8
# Of a line, in characters, unless the terminal is narrower.
WIDTH = 120


def parser() -> flags.FlagValues:
    """The command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_boolean("json", False, "print JSON, of all constants", flag_values=values)
    flags.DEFINE_boolean(
        "tensors", False, f"all constants, not the {LARGEST} largest only", flag_values=values
    )
    return values


def run(argv: Sequence[str]) -> None:
    """Parses, reads, prints.

    Raises:
        InputError: bad usage or a bad file.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return
    require(len(paths) == 1, f"give the path of one .tflite file; got {len(paths)}; see --help")
    found = inspected(paths[0])
    if values.json:
        print(json.dumps(found, indent=2, allow_nan=False))
    else:
        print(text(found, all_constants=values.tensors))


def inspected(path: str) -> dict[str, Any]:
    """Everything that the command shows, as JSON values, of a file that is tried first.

    Args:
        path: of the file.

    Raises:
        InputError: it isn't a `.tflite` file, or it is corrupt or crashes.
    """
    return described(path, process.check(path))


def described(path: str, said: str | None) -> dict[str, Any]:
    """The same without the trial.

    Args:
        path: of the file.
        said: what the runtime said against it; None if it ran.
    """
    found = content.read(path)
    own = metadata.read(path)
    # What everybody runs; the other signatures are for those who ask for them.
    main = found.of()
    others = [one.name for one in found.signatures if one.subgraph]
    own_name = next((one.name for one in main.signatures), "")
    first = versions.oldest(main)
    issues = [
        *compatibility.never(main),
        *(
            dataclasses.replace(issue, who=f"signature {name}")
            for name in others
            for issue in compatibility.never(found.of(name))
        ),
        *compatibility.old(found),
        *compatibility.gpu(main),
        *(CompatibilityIssue("GPU", text) for text in lint.warnings(found)),
        *compatibility.mediapipe(found, own),
    ]
    return {
        "path": str(path),
        "size_bytes": sizes.size_bytes(path),
        "gzip_bytes": sizes.gzip_bytes(path),
        "macs": found.macs,
        "uncounted_ops": list(found.uncounted),
        "inputs": [_tensor(tensor) for tensor in found.inputs],
        "outputs": [_tensor(tensor) for tensor in found.outputs],
        "signatures": [one.name for one in found.signatures],
        "ops": [
            *_ops(main, own_name),
            *(op for name in others for op in _ops(found.of(name), name)),
        ],
        "weight_bytes": dict(found.weight_bytes),
        "constants": [
            {**_tensor(tensor), "size_bytes": tensor.size_bytes} for tensor in found.constants
        ],
        "metadata": own.to_json() if own else None,
        "oldest_runtime": {
            "tensorflow_lite": first.release,
            "litert": first.litert,
            "because": first.because,
            "unknown": list(first.unknown),
        },
        "runs_here": said is None,
        "runtime_said": said,
        "issues": [{"who": issue.who, "text": str(issue)} for issue in issues],
    }


def text(found: dict[str, Any], *, all_constants: bool = False) -> str:
    """The same as tables that a person reads."""
    several = len(found["signatures"]) > 1
    parts = [
        _facts(found),
        _table(
            found["ops"],
            {
                **({"signature": "signature"} if several else {}),
                "name": "op",
                "version": "version",
                "count": "count",
                "types": "types",
                "since": "since",
            },
        ),
    ]
    constants = found["constants"] if all_constants else found["constants"][:LARGEST]
    if constants:
        rows = [
            {
                **tensor,
                "shape": "x".join(map(str, tensor["shape"])),
                "bytes": f"{tensor['size_bytes']:,}",
            }
            for tensor in constants
        ]
        left = len(found["constants"]) - len(constants)
        more = f"\nand {left} smaller ones; --tensors shows them" if left else ""
        keys = {"name": "constant", "dtype": "type", "shape": "shape", "bytes": "bytes"}
        parts.append(_table(rows, keys) + more)
    if found["metadata"]:
        said = Metadata(**found["metadata"])
        rows = [
            {"field": key, "value": _shown(value)} for key, value in vars(said).items() if value
        ]
        parts.append(_table(rows, {"field": "metadata", "value": ""}))
    if found["issues"]:
        parts.append(_table(found["issues"], {"who": "who", "text": "may refuse or get wrong"}))
    return "\n\n".join(parts)


def _facts(found: dict[str, Any]) -> str:
    """One line a fact."""
    first = found["oldest_runtime"]
    runtime = f"TensorFlow Lite {first['tensorflow_lite']}"
    if first["litert"]:
        runtime += f", LiteRT {first['litert']}"
    runtime += f" ({first['because']})"
    if first["unknown"]:
        runtime = f"at least {runtime}; unknown: {', '.join(first['unknown'])}"
    macs = f"{found['macs']:,}" if found["macs"] is not None else "unknown"
    if found["uncounted_ops"]:
        macs += f": {', '.join(found['uncounted_ops'])} can't be counted"
    weights = ", ".join(f"{size:,} {dtype}" for dtype, size in found["weight_bytes"].items())
    rows = {
        "file": found["path"],
        "bytes": f"{found['size_bytes']:,}, {found['gzip_bytes']:,} after gzip",
        "weights": f"{weights or 'no'} bytes",
        "multiply-accumulates": macs,
        "in": "; ".join(map(_described, found["inputs"])),
        "out": "; ".join(map(_described, found["outputs"])),
        **({"signatures": ", ".join(found["signatures"])} if len(found["signatures"]) > 1 else {}),
        "oldest runtime": runtime,
        "here": "loads and runs" if found["runs_here"] else found["runtime_said"],
    }
    return table(rows.items(), width=WIDTH)


def _ops(found: FileContent, signature: str) -> list[dict[str, Any]]:
    """Each op, version and types with how often it occurs, the most frequent first."""
    counts = collections.Counter(
        (op.name, op.version, " ".join(tensor.dtype if tensor else "-" for tensor in op.inputs))
        for op in found.ops
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


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def _described(tensor: dict[str, Any]) -> str:
    return f"{tensor['dtype']} {' x '.join(map(str, tensor['shape']))}"


def _shown(value: Any) -> str:
    """A field of the metadata on one line."""
    if isinstance(value, str):
        return " ".join(value.split())
    texts = [item if isinstance(item, str) else f"{item:g}" for item in value]
    return ", ".join(texts[:20]) + (f", and {len(texts) - 20} more" if len(texts) > 20 else "")


def _table(rows: Sequence[dict[str, Any]], columns: dict[str, str]) -> str:
    """Rows with these keys, under these headers."""
    cells = [[row[key] for key in columns] for row in rows]
    return table(cells, list(columns.values()), width=WIDTH)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
