"""Drops the line that LiteRT writes to stderr when it first makes an XNNPACK delegate.

Its Python interface has no switch for that line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator

from tfcompress.files import capture_stderr
from tfcompress.plain_text import plain_bytes

_LINE = b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n"
# Two threads that turn stderr at the same time might each put the other's file in its place.
_lock = threading.Lock()
# LiteRT writes its line once in a process: after that, stderr is left alone.
_seen = False


@contextlib.contextmanager
def drop_delegate_line() -> Iterator[None]:
    """Keeps LiteRT's line off stderr while an interpreter allocates its tensors.

    Whatever else is written to stderr meanwhile, errors of LiteRT's among it, comes out behind the
    block. Once the line was seen, this does nothing.
    """
    global _seen
    if _seen or sys.__stderr__ is None:  # A process may have been started without a stderr.
        yield
        return
    with _lock, capture_stderr() as (captured, stderr):
        try:
            yield
        finally:
            captured.seek(0)
            text = captured.read()
            others = text.replace(_LINE, b"")
            _seen = _seen or others != text
            with contextlib.suppress(OSError):  # Such as a pipe that nobody reads any more.
                os.write(stderr, plain_bytes(others))
