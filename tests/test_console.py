"""Tables: what is in them, how wide they are."""

import itertools
import sys

import pytest

from tfcompress.console import WORDS, table

HEADERS = ["file", "time\nms", "ratio"]
ROWS = [
    ["block1_conv1_with_a_name_without_blanks", "1.0", "0.25 (0.20 to 0.30)"],
    ["[red]b[/red]", "10.25", ""],
]


def test_words_left_numbers_right():
    lines = table(ROWS, HEADERS, words=1).splitlines()
    assert lines[0].split() == ["time"]
    assert lines[1].split() == ["file", "ms", "ratio"]
    assert lines[3] == "block1_conv1_with_a_name_without_blanks    1.0  0.25 (0.20 to 0.30)"
    # What stands in a cell isn't markup.
    assert lines[4] == "[red]b[/red]" + " " * 29 + "10.25"
    assert set(lines[2]) == {"-", " "}
    assert table([["a", "b c"], ["ddd", 1]]) == "a    b c\nddd  1"


@pytest.mark.parametrize("width", [20, 45, 60, 200])
def test_too_wide(width):
    """Words give way, whole numbers stay; nothing is lost."""
    lines = table(ROWS, HEADERS, words=1, width=width).splitlines()
    numbers = sum(len("  ") + len(text) for text in ("10.25", ROWS[0][2]))
    assert max(map(len, lines)) <= max(width, WORDS + numbers)
    assert any("1.0  0.25 (0.20 to 0.30)" in line for line in lines)
    first = itertools.takewhile(lambda line: "[red]" not in line, lines[3:])
    wrapped = "".join(line[: max(map(len, lines)) - numbers].strip() for line in first)
    assert wrapped == ROWS[0][0]


def test_a_narrow_terminal(monkeypatch):
    wide = table(ROWS, HEADERS, words=1)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "50")
    assert max(map(len, wide.splitlines())) > 50
    assert max(map(len, table(ROWS, HEADERS, words=1).splitlines())) <= 50
    assert table(ROWS, ["a", "b", "c"], markdown=True).count("\n") == 3


def test_markdown():
    assert table([["a|b", 1]], ["x", "y"], markdown=True).splitlines() == [
        "| x    | y |",
        "|------|---|",
        "| a\\|b | 1 |",
    ]


def test_letters_that_steer_a_terminal():
    assert (
        table([["a\x1b[31mb\x07\u202ec", "d\ne"]])
        == "a\\x1b[31mb\\x07\\u202ec  d\n" + " " * 23 + "e"
    )


def test_no_rows():
    assert table([], ["name", "b"]) == "name  b\n----- -"
    assert table([]) == ""
