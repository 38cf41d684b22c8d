"""Opens a file in LiteRT's interpreter, with the delegate and the signature that the file needs.

A file with two signatures runs by its 1-bit one where tfcompress's kernels are there and take its
ops, and by its default one elsewhere.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from typing import Any

from tfcompress.errors import unknown_name
from tfcompress.plain_text import one_line
from tfcompress.runtime.delegates import delegates_for
from tfcompress.tflite import signatures
from tfcompress.tflite.signatures import BITS, DEFAULT


@dataclasses.dataclass(frozen=True)
class OpenedFile:
    """A file that is loaded and can be run.

    Attributes:
        interpreter: LiteRT's, with its tensors allocated.
        signature: the signature that runs; None if the file hasn't several.
        because: why the default signature runs and not the 1-bit one; empty if the 1-bit one runs,
            if the caller asked for the default one, or if the file hasn't both.
        slow: why its 1-bit ops run slower than LiteRT's own kernels would; empty if they don't, or
            if it has none.
    """

    interpreter: Any
    signature: str | None = None
    because: str = ""
    slow: str = ""


@dataclasses.dataclass(frozen=True)
class _Settings:
    """What every interpreter of a call is made with; see `open_file`."""

    threads: int
    xnnpack: bool
    keep_all: bool


def open_file(
    path: str | os.PathLike[str],
    *,
    threads: int,
    xnnpack: bool,
    signature: str | None = None,
    keep_all: bool = False,
    delegates: list[Any] | None = None,
) -> OpenedFile:
    """Loads a file and allocates its tensors.

    Args:
        path: of the `.tflite` file.
        threads: CPU threads of one inference.
        xnnpack: whether the ops that no other delegate takes go to XNNPACK.
        signature: one of the file's; `serving_default` is its main graph, whatever that is called.
            None for the fastest that runs here.
        keep_all: whether the values of all tensors are kept, so that they can be read.
        delegates: the caller's own delegates. With them the file's main graph runs, whatever it
            holds. None to take those that the file needs.

    Raises:
        InputError: the file has no such signature; or it, or the signature asked for, has 1-bit
            ops, and there are no kernels here.
        ValueError: the file failed LiteRT's verification.
        RuntimeError: LiteRT lacks an op, or the tensors don't fit together.
    """
    settings = _Settings(threads, xnnpack, keep_all)
    graphs = signatures.graphs(path)  # Signature to the number of its graph.
    if signature is not None and signature not in (*graphs, DEFAULT):
        raise unknown_name(f"signature of {path}", signature, graphs)
    whole = os.fspath(path)
    if delegates is not None:
        return OpenedFile(_interpreter(whole, delegates, settings))
    if len(graphs) < 2 or (signature is None and BITS not in graphs):
        return _with_ours(path, whole, settings)
    because = ""
    if signature is None:
        opened, because = _try_bits(path, settings)
        if opened:
            return opened
    elif signature == BITS:
        return _with_ours(path, signatures.alone(path, BITS), settings, BITS)
    elif graphs.get(signature, 0):
        return OpenedFile(
            _interpreter(signatures.alone(path, signature), None, settings), signature
        )
    # The main graph has no 1-bit ops, and needs no delegate of ours.
    main = signature or next((name for name, number in graphs.items() if number == 0), DEFAULT)
    return OpenedFile(_interpreter(whole, None, settings), main, because)


def _try_bits(path: str | os.PathLike[str], settings: _Settings) -> tuple[OpenedFile | None, str]:
    """Opens a file's 1-bit signature, or says why the kernels can't run it."""
    from tfcompress import kernels

    reason = kernels.missing()
    if reason:
        return None, reason
    try:
        return _with_ours(path, signatures.alone(path, BITS), settings, BITS), ""
    except RuntimeError as error:
        return None, f"they didn't take the file's ops: {one_line(error)}"


def _with_ours(
    path: str | os.PathLike[str], graph: str | bytes, settings: _Settings, name: str | None = None
) -> OpenedFile:
    """Opens a file's graph with our kernels if the file has ops for them.

    Args:
        path: of the file.
        graph: the path again, or the bytes of the file with one signature alone.
        settings: of the call.
        name: of that signature.
    """
    delegates = delegates_for(path)
    interpreter = _interpreter(graph, delegates, settings)
    if delegates is None:
        return OpenedFile(interpreter, name)
    from tfcompress import kernels

    return OpenedFile(interpreter, name, slow=kernels.slow() or "")


def _interpreter(file: str | bytes, delegates: list[Any] | None, settings: _Settings) -> Any:
    """Returns an interpreter of a path or of a file's bytes, with its tensors allocated."""
    # Here and not above: reading the settings of a run shouldn't load a native library.
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    source = {"model_path": file} if isinstance(file, str) else {"model_content": file}
    with warnings.catch_warnings():  # Our callers' docstrings say that keeping all costs memory.
        warnings.filterwarnings("ignore", message=".*preserve_all_tensors", append=False)
        interpreter = Interpreter(
            **source,
            num_threads=settings.threads,
            experimental_delegates=delegates,
            experimental_op_resolver_type=OpResolverType.AUTO
            if settings.xnnpack
            else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            experimental_preserve_all_tensors=settings.keep_all,
        )
    interpreter.allocate_tensors()
    return interpreter
