"""Names of strangers in Markdown, CSV, pages and pictures: text, and nothing but text."""

import csv
import io
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tests.report.conftest import BITS, COMPRESSED
from tests.report.pages import assert_inert
from tfcompress.plain_text import spell_out
from tfcompress.report import compared, plots, write
from tfcompress.report.render import csv_text, markdown_cell, markdown_code

EVIL = "\x1b[2J\u202e$\\frac</svg><img src=x onerror=alert(1)>[x](javascript:y)|`\ud800"


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1+cmd|' /C calc'!A0",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\uff1d1",
        "\uff0d1",
        "\uff20x",
    ],
)
def test_a_cell_is_no_formula(text):
    ((cell,),) = csv.reader(io.StringIO(csv_text([[text]])))
    assert cell == "'" + spell_out(text)


@pytest.mark.parametrize(
    ("value", "cell"),
    [(-0.5, "-0.5"), (np.float32(-0.5), "-0.5"), (-3, "-3"), (None, ""), ("a-b", "a-b"),
     ("a, \"b\"\nc", "a, \"b\"\nc"), ("\x1b[2J\ud800", "\\x1b[2J\\ud800")],
)  # fmt: skip
def test_other_cells(value, cell):
    assert list(csv.reader(io.StringIO(csv_text([[value, 1]]), newline=""))) == [[cell, "1"]]


def test_every_csv(run):
    rows = [{"epoch": 1, "loss": -0.5, "=cmd": 7}]
    lines = write.history_csv(run(histories={"baseline": rows})).splitlines()
    assert lines == ["stage,epoch,loss,'=cmd", "baseline,1,-0.5,7"]
    table = compared.comma_separated(compared.lines([("@run", run(technique="=cp", model="+m"))]))
    row = list(csv.DictReader(io.StringIO(table)))[1]
    assert [row[key] for key in ("technique", "model", "run")] == ["'=cp", "'+m", "'@run"]
    assert float(row["accuracy_change_points"]) == -0.6


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("# title", "\\# title"),
        ("- item", "\\- item"),
        ("> said", "\\> said"),
        ("---", "\\---"),
        ("-", "-"),
        ("-0.5", "-0.5"),
        ("+0.55 points", "+0.55 points"),
        ("[x](javascript:alert(1))", "\\[x\\](javascript:alert(1))"),
        ("a\n\n<b>", "a &lt;b>"),
        ("\x1b[2J\u202e", "\\\\x1b\\[2J\\\\u202e"),
    ],
)
def test_markdown_cells(text, cell):
    assert markdown_cell(text) == cell


def test_pages_and_pictures_of_any_names(run):
    layers = [{"name": EVIL, "kind": EVIL, "macs": 5, "bytes": 7}]
    result = run(
        technique=EVIL[:16],
        **dict.fromkeys(("model", "dataset", "command", "reference"), EVIL),
        layers=[{"name": EVIL, "kind": EVIL, "action": EVIL, "reason": EVIL}],
        baseline_layers=layers,
        file_layers=layers,
        notes=[EVIL],
    )
    pictures = plots.pictures(result)
    assert pictures
    for picture in pictures:
        ET.fromstring(picture.svg)
        assert picture.svg == spell_out(picture.svg)
        assert picture.alt == spell_out(picture.alt)
    page = write.html(result, pictures)
    assert_inert(page)
    lines = write.markdown(result, pictures).splitlines()
    assert f"    {spell_out(EVIL)}" in lines  # The command, as code.
    source = "\n".join(line for line in lines if not line.startswith("    "))
    for text in (page, source, compared.html(compared.lines([(EVIL, result)]))):
        assert text == spell_out(text)
        assert "x1b" in text
        assert "<img src" not in text
    assert "](javascript:" not in source.replace("\\](", "")


def test_several_files(run):
    """The names of storages stand over columns, in titles and in legends."""
    result = run(files=[COMPRESSED, BITS], technique="\x1b$x$ ^_\\q")
    assert [picture.name for picture in plots.pictures(result)] == [
        "errors",
        "tradeoff",
        "pareto",
        "layers",
    ]


def test_code():
    assert markdown_code('`"]\n```\n# x') == "`'\"] ''' # x`"
