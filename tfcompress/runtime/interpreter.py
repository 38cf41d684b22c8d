"""LiteRT's interpreter for a file, with what the file needs beside it.

Of a file with two signatures the 1-bit one runs where tfcompress's kernels do and take its ops, and
the stock one elsewhere.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any

from tfcompress.errors import unknown_name
from tfcompress.runtime.delegates import delegates
from tfcompress.tflite import header, signatures
from tfcompress.tflite.signatures import BITS, DEFAULT


@dataclasses.dataclass(frozen=True)
class Opened:
    """A file in an interpreter.

    Attributes:
        interpreter: with its tensors allocated.
        signature: which one runs; None of a file that has no two.
        because: why the stock signature runs and not the 1-bit one, if nobody asked for it.
    """

    interpreter: Any
    signature: str | None = None
    because: str = ""


def opened(
    path: str | os.PathLike[str],
    *,
    threads: int,
    xnnpack: bool,
    signature: str | None = None,
    keep_all: bool = False,
    given: list[Any] | None = None,
) -> Opened:
    """Loads a file.

    Args:
        path: of the `.tflite` file.
        threads: CPU threads of one inference.
        xnnpack: whether what no delegate of ours takes goes to XNNPACK.
        signature: one of the file's, `serving_default` being its main graph by whatever name; None
            for the fastest that runs here.
        keep_all: whether values inside the file are kept.
        given: delegates of the user's; with some, the file's own graph runs, whatever it holds.

    Raises:
        InputError: no such signature; or the file, or the signature that was asked for, has 1-bit
            ops, and there are no kernels here.
        ValueError: the file failed LiteRT's verification.
        RuntimeError: LiteRT lacks an op, or the tensors don't fit together.
    """
    known = signatures.graphs(path)
    how: dict[str, Any] = {"threads": threads, "xnnpack": xnnpack, "keep_all": keep_all}
    if signature is not None and signature not in (*known, DEFAULT):
        raise unknown_name(f"signature of {path}", signature, known)
    if given is not None:
        return Opened(_interpreter({"model_path": str(path)}, given, **how))
    if len(known) < 2 or (signature is None and BITS not in known):
        return Opened(_interpreter({"model_path": str(path)}, delegates(path), **how))
    because = ""
    if signature in (None, BITS):
        because = "" if signature else _missing()
        if not because:
            whole = {"model_content": signatures.alone(path, BITS)}
            try:
                return Opened(_interpreter(whole, delegates(path), **how), BITS)
            except RuntimeError as error:
                if signature:
                    raise
                because = f"they didn't take the file's ops: {header.one_line(error)}"
    elif known.get(signature, 0):
        whole = {"model_content": signatures.alone(path, signature)}
        return Opened(_interpreter(whole, None, **how), signature)
    # The 1-bit ops are in the other graph, which isn't run.
    stock = {"model_path": str(path)}
    main = signature or next((name for name, graph in known.items() if graph == 0), DEFAULT)
    return Opened(_interpreter(stock, None, **how), main, because)


def _missing() -> str:
    """Why the kernels can't be used here, or an empty text."""
    from tfcompress import kernels

    return kernels.missing() or ""


def _interpreter(
    file: dict[str, Any], given: list[Any] | None, *, threads: int, xnnpack: bool, keep_all: bool
) -> Any:
    """An interpreter with its tensors allocated."""
    # Here and not above: reading the settings of a run shouldn't load a native library.
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    with warnings.catch_warnings():  # That keeping all costs memory is said where it is asked for.
        warnings.filterwarnings("ignore", message=".*preserve_all_tensors", append=False)
        interpreter = Interpreter(
            **file,
            num_threads=threads,
            experimental_delegates=given,
            experimental_op_resolver_type=OpResolverType.AUTO
            if xnnpack
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=keep_all,
        )
    interpreter.allocate_tensors()
    return interpreter
