"""Texts of errors that more than one room makes."""

import pytest

from tfcompress.errors import grouped


@pytest.mark.parametrize(
    ("reasons", "text"),
    [
        ({}, ""),
        ({"a": "1x1"}, "a: 1x1"),
        ({"a": "last", "b": "1x1", "c": "1x1"}, "b, c: 1x1; a: last"),
        ({f"c{i}": "1x1" for i in range(4)}, "4 layers, such as c0: 1x1"),
        # They differ in numbers alone, so the first speaks for them.
        ({f"c{i}": f"only {i + 2:,}.5 weights" for i in range(2)}, "2 layers, such as c0: only 2.5 "
         "weights"),
    ],
)  # fmt: skip
def test_one_clause_for_a_reason(reasons, text):
    assert grouped(reasons) == text


def test_at_most_a_handful_of_clauses():
    reasons = {f"layer{letter}": f"because {letter}" for letter in "abcdefgh"}
    text = grouped(reasons)
    assert text.count(";") == 5
    assert text.endswith("layere: because e; 3 more for other reasons")
