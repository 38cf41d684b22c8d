"""Shows text of a stranger's file without letting it steer the terminal.

Names of ops, tensors, layers, classes and files, and what libraries say of them, may hold escape
sequences that clear the screen, hide lines or answer in the user's name. Nothing here imports more
than the standard library.
"""

from __future__ import annotations

import contextlib
import re
import sys
import types
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

_ODD = re.compile(r"[^\n\t -~]")
# Control characters, formatting ones (zero-width, right-to-left overrides), halves of surrogate
# pairs, and the separators of lines and paragraphs.
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What an error quotes of another program is at most so long, in characters.
QUOTED = 300


def spell_out(text: str) -> str:
    r"""Spells out the characters that would steer a terminal, but for line feeds and tabs.

    >>> print(spell_out("conv\x1b[2J\r\u202e ✓"))
    conv\x1b[2J\r\u202e ✓
    """
    return text if text.isprintable() else _ODD.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    letter = match[0]
    return repr(letter)[1:-1] if unicodedata.category(letter) in _STEERING else letter


def plain_bytes(content: bytes) -> bytes:
    r"""Spells out, in what a library wrote to stderr, what isn't text or would steer a terminal.

    >>> plain_bytes(b"\x1b[2J\xff")
    b'\\x1b[2J\\xff'
    """
    return spell_out(content.decode("utf-8", "backslashreplace")).encode()


def one_line(value: object, most: int = QUOTED) -> str:
    r"""Writes a text, or what an exception says, on one line that steers no terminal.

    Args:
        value: the text; an exception without a text is named by its class.
        most: characters of the line, at least 20; of a longer one the middle is left out.

    >>> one_line(ValueError("two\n   lines")), one_line(KeyError())
    ('two lines', 'KeyError')
    """
    line = spell_out(" ".join(str(value).split())) or type(value).__name__
    if len(line) <= most:
        return line
    end = most // 4
    return f"{line[: most - end - 5]} ... {line[-end:]}"


def first_line(value: object, most: int = QUOTED) -> str:
    r"""Writes the first line of a text that isn't blank, as `one_line` does.

    Keras and compilers say in it what is wrong, and much else below.

    >>> first_line(ValueError("\n unknown layer \n  and 30 lines of advice"))
    'unknown layer'
    """
    lines = (line for line in str(value).splitlines() if line.strip())
    return one_line(next(lines, "") or type(value).__name__, most)


class PlainStream:
    """Passes text on to a stream, with what would steer a terminal spelled out.

    So is what the stream's encoding doesn't have, which `print` would raise an error for.

    Args:
        stream: the stream; whatever else is asked of this one is asked of that one.
    """

    def __init__(self, stream: TextIO) -> None:
        self.unfiltered = stream

    def write(self, text: str) -> int:
        """Writes text."""
        plain = spell_out(text)
        encoding = getattr(self.unfiltered, "encoding", None) or "utf-8"
        self.unfiltered.write(plain.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Writes several texts."""
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return iter(self.unfiltered)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unfiltered, name)


def unfiltered(stream: TextIO) -> TextIO:
    """Returns the stream below the filter, for a bar of our own, which has to steer the terminal.

    Whoever writes to it spells out what a stranger may have written.
    """
    return stream.unfiltered if isinstance(stream, PlainStream) else stream


@contextlib.contextmanager
def plain_output() -> Iterator[None]:
    """Filters all that Python prints to stdout and stderr by `PlainStream` in the block.

    An error that leaves the block is filtered too when Python prints its traceback at the end.
    """
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    # A process may have been started without them; a block within a block filters no more.
    filtered = {
        name: cast(TextIO, PlainStream(stream))
        for name, stream in before.items()
        if stream is not None and not isinstance(stream, PlainStream)
    }
    for name, stream in filtered.items():
        setattr(sys, name, stream)
    try:
        yield
    except Exception:
        if filtered and not isinstance(sys.excepthook, _PlainHook):
            sys.excepthook = _PlainHook(sys.excepthook)
        raise
    finally:
        for name, stream in filtered.items():
            if getattr(sys, name) is stream:  # The block may have put another in its place.
                setattr(sys, name, before[name])


class _PlainHook:
    """Prints a traceback through the filter.

    Args:
        hook: what prints tracebacks otherwise.
    """

    def __init__(self, hook: Any) -> None:
        self._hook = hook

    def __call__(
        self, kind: type[BaseException], error: BaseException, trace: types.TracebackType | None
    ) -> None:
        with plain_output():
            self._hook(kind, error, trace)
