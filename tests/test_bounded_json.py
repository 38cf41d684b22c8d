"""JSON that a stranger wrote: what is refused, and that it takes no long time or much memory."""

import json
import math

import pytest

from tfcompress.bounded_json import NESTING, parse_json, read_json


def test_what_python_reads_is_read():
    text = '{"a": [1, -2.5e3, "\\u00e9\\"[[", null, true, NaN, Infinity], "b": "\\ud83d\\ude00"}'
    values = parse_json(text)
    assert math.isnan(values["a"].pop(5))
    assert values == {"a": [1, -2500.0, 'é"[[', None, True, math.inf], "b": "😀"}
    assert parse_json('["é"]'.encode()) == ["é"]
    assert parse_json("-9223372036854775808") == -(2**63)
    deep = json.loads("[" * NESTING + "]" * NESTING)
    assert parse_json(json.dumps(deep)) == deep


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * (NESTING + 1) + "]" * (NESTING + 1), "nested more than 200 deep"),
        ("[" * 1_000_000, "nested more than 200 deep"),
        ('{"a":' * 1_000_000, "nested more than 200 deep"),
        ("1" * 21, "a whole number beyond 64 bits"),
        ("[" + "9" * 5000 + "]", "a whole number beyond 64 bits"),
        ('"' + '\\"' * 1_000_000, "Unterminated string"),
        ('"' * 1_000_001, "Extra data"),
        ("{", "Expecting property name"),
        (b"\xff", "can't decode"),
        (None, "NoneType is no text"),
        (7, "int is no text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_refused_in_one_line(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


def test_a_file_has_a_largest_size(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[1]   ")
    assert read_json(path, most_bytes=6) == [1]
    with pytest.raises(ValueError, match="larger than 5 bytes"):
        read_json(path, most_bytes=5)
