"""Reports that somebody else wrote: every value may be of any type."""

import copy
import json

import pytest

from tests.report.conftest import BITS, COMPRESSED, RUN
from tfcompress.errors import InputError
from tfcompress.report import compared, headline, plots, shapes, table, write
from tfcompress.report.read import read_report
from tfcompress.report.result import RunResult

# What a value may be replaced by.
ODD = [None, True, "-1", -1, 0, 2**63, 1e308, 5e-324, [], [{}], {"a": "b"}, float("nan")]


def report():
    values = RUN.to_json() | {"files": {}}
    for file in (COMPRESSED, BITS):
        values["files"][file.storage] = file.to_json() | {"layer_errors": {"conv_1": 0.5}}
    values["benchmarks"][0]["profile"]["unavailable"] = "why"
    values["machine"]["features"] = ["AVX2"]
    return json.loads(json.dumps(values))


# Only copied, or as another value that is tried.
ALIKE = {"config", "versions", "ratio", "compressed", "layers_after", "xnor"}


def places(values, path=()):
    """Every value within a value, as the keys that lead to it."""
    items = values.items() if isinstance(values, dict) else enumerate(values)
    for key, value in items:
        yield (*path, key)
        if key in ALIKE:
            continue
        if isinstance(value, (dict, list)):
            # Of a list the first says it all.
            yield from places(value[:1] if isinstance(value, list) else value, (*path, key))


def replaced(values, path, value):
    values = copy.deepcopy(values)
    at = values
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return values


def show(result):
    """What is made of a report that was read, but the pictures, which take long, and the page,
    which shows what the Markdown does."""
    table.comparison(result)
    headline(result)
    write.markdown(result, [])
    write.history_csv(result)
    lines = compared.lines([("folder", result)], "latency")
    compared.markdown(lines)
    compared.comma_separated(lines)


def test_any_value_of_any_type():
    """Each is refused in one line, or shown; it never ends in another error."""
    values, said, shown = report(), [], 0
    for path in places(values):
        for odd in ODD:
            try:
                result = RunResult.from_json(replaced(values, path, odd))
            except InputError as error:
                said.append(str(error))
            else:
                shown += 1
                show(result)
    assert min(len(said), shown) > 300
    assert not any("\n" in line for line in said)


@pytest.mark.parametrize("field", ["latency_ms_p50", "latency_ratio", "size_bytes", "accuracy"])
@pytest.mark.parametrize("number", [0, 1e-11, 1e11, 1, 2**63])
def test_numbers_that_are_hard_to_draw(field, number):
    values = report()
    values["files"]["int8"][field] = number
    try:
        result = RunResult.from_json(values)
    except InputError:
        return
    assert plots.cost_points(result).svg
    assert plots.cost_bars(result).svg


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "isn't valid JSON (nested more than 200 deep)"),
        ('{"technique": ' * 100_000, "nested more than 200 deep"),
        ("9" * 5000, "a whole number beyond 64 bits"),
        (" " * (9 << 20), "larger than 8,388,608 bytes"),
        ('{"a": "b', "isn't valid JSON (Unterminated string"),
        ('{"technique": 1, "baseline": [], "compressed": 0}', "baseline must be an object; got"),
    ],
)
def test_what_is_no_report_is_one_line(tmp_path, text, message):
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError) as caught:
        read_report(tmp_path)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"technique": ["xnor"]}, "technique must be a text; got a list"),
        ({"seed": True}, "seed must be a whole number; got True"),
        ({"seed": 10**400}, "seed must be a whole number; got 1000"),
        ({"benchmarks": [{"profile": {"ops": [{"name": "a", "ms": -(10**400)}]}}]},
         r"ops\[0\]\.ms must be a finite number; got -1000"),
        ({"layers": [{"name": 1}]}, r"layers\[0\]\.name must be a text; got 1"),
        ({"layers_before": [{}]}, r"baseline\.layers\[0\]\.name is missing"),
        ({"files": {str(at): {} for at in range(101)}}, "101 files are more"),
        ({"benchmarks": [{"profile": {"ops": [{"name": "\x1b[2J", "ms": "\x1b"}]}}]},
         r"ops\[0\]\.ms must be a finite number; got '\\x1b'"),
        ({"x" * 9999: 1, "notes": {"\x1b[2J" * 999: 1}}, "notes must be a list; got an object"),
    ],
)  # fmt: skip
def test_the_error_names_the_value(changes, message):
    with pytest.raises(InputError, match=message):
        RunResult.from_json(report() | changes)


def test_values_that_are_no_object():
    with pytest.raises(InputError, match="a report must be an object; got a list"):
        RunResult.from_json([])


def test_every_field_has_a_rule():
    """A field of a type that nothing checks would let anything in."""
    read = RunResult.from_json(report())
    assert read.files[1].storage == "xnor"
    with pytest.raises(TypeError, match="no rule for"):
        shapes.check(1, complex, "value")
