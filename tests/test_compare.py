"""The command that joins reports: its table, its files, and what it says to bad input."""

import csv
import dataclasses
import json

import pytest

from tests.report.conftest import COMPRESSED, RUN
from tests.report.pages import assert_inert
from tfcompress import compare
from tfcompress.report import compared
from tfcompress.report.write import json_text

EVIL = '<script>alert("x")</script>|`'


def result(technique, accuracy, size_bytes, latency_ratio, **changes):
    latency_ms = None if latency_ratio is None else 1.0 * latency_ratio
    after = dataclasses.replace(
        COMPRESSED, accuracy=accuracy, size_bytes=size_bytes, latency_ms_p50=latency_ms,
        train_step_ms=25.0, latency_ratio=latency_ratio, latency_ratio_p10=None,
        latency_ratio_p90=None,
    )  # fmt: skip
    return dataclasses.replace(RUN, technique=technique, files=[after], **changes)


RUNS = {
    "a": result("cp", 0.92, 18_000, 2.0),
    "b": result("xnor", 0.90, 9_000, 0.5),
    "c": result("dynamic", 0.89, 9_500, None),
    "d": result(EVIL, 0.88, 12_000, 0.75, model=EVIL, seed=4),
}


@pytest.fixture
def folders(tmp_path):
    for name, run in RUNS.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(json_text(run))
    return [str(tmp_path / name) for name in RUNS]


def error_of(capsys, *words):
    assert compare.main(["compare", *words]) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert captured.out == ""
    return lines[0]


def test_markdown(folders, capsys):
    assert compare.main(["compare", *folders[:3]]) == 0
    header, _, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert header == (
        "| no. | technique | model | data set | seed | train step, ms | inference, ms | "
        "size, KiB | accuracy, % | step ratio | inference ratio | size ratio | accuracy, points |"
    )
    common = r"vgg\_small | fashion\_mnist\_small | 3"
    assert rows == [
        f"| 1 | baseline | {common} | 10.0 | 1.00 | 35.2 | 91.45 | - | - | - | - |",
        f"| 2 | cp | {common} | 25.0 | 2.00 | 17.6 | 92.00 | 2.50x | 2.00x | 0.50x | +0.55 |",
        f"| 3 | xnor | {common} | 25.0 | 0.500 | 8.8 | 90.00 | 2.50x | 0.50x | 0.25x | -1.45 |",
        f"| 4 | dynamic | {common} | 25.0 | - | 9.3 | 89.00 | 2.50x | - | 0.26x | -2.45 |",
    ]


def test_an_untimed_baseline_gives_way_to_the_same_one_timed():
    own = dataclasses.replace(RUN.baseline, latency_ms_p50=None)
    untimed = dataclasses.replace(RUNS["c"], baseline=own)
    lines = compared.lines([("c", untimed), ("b", RUNS["b"])])
    assert [line.technique for line in lines] == ["baseline", "dynamic", "xnor"]
    assert lines[0].latency_ms == 1.0
    assert lines[0].run == "b"


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("accuracy", ["cp", "baseline", "xnor", "dynamic"]),
        ("size", ["xnor", "dynamic", "cp", "baseline"]),
        ("latency", ["xnor", "baseline", "cp", "dynamic"]),
        ("technique", ["baseline", "cp", "dynamic", "xnor"]),
    ],
)
def test_sorted(sort, order):
    lines = compared.lines([(name, RUNS[name]) for name in "abc"], sort)
    assert [line.technique for line in lines] == order
    assert [line.number for line in lines] == [1, 2, 3, 4]


def test_csv(folders, tmp_path, capsys):
    path = tmp_path / "runs.csv"
    assert compare.main(["compare", *folders, f"--output={path}", "--sort=size"]) == 0
    assert capsys.readouterr().out == f"4 runs in {path}\n"
    rows = list(csv.DictReader(path.open(newline="")))
    assert [row["size_bytes"] for row in rows] == [
        "9000",
        "9500",
        "12000",
        "18000",
        "36000",
        "36000",
    ]
    assert rows[0]["run"] == folders[1]
    assert rows[0]["latency_ratio"] == "0.5"
    assert rows[1]["latency_ms_p50"] == rows[1]["latency_ratio"] == ""
    assert rows[2]["technique"] == EVIL


def test_page(folders, tmp_path):
    path = tmp_path / "runs.html"
    assert compare.main(["compare", *folders, f"--output={path}"]) == 0
    text = path.read_text()
    assert_inert(text)
    assert "<script" not in text
    # 3 is the smallest, 2 the most accurate; both baselines are larger than 2.
    assert "Of 6 files on fashion_mnist_small, none is both smaller and more accurate than" in text
    assert "than 3 xnor (90.00%), 2 cp (92.00%).<" in text
    assert "file size, KiB: on the front, from the cheapest, 3 xnor (8.789, 90.00 %), 2 cp" in text
    assert (
        text.count('scope="col"') == 13 - 1 + 2
    )  # All but the data set, which is always the same.
    assert "data set fashion_mnist_small" in text


def test_data_sets_have_fronts_of_their_own():
    other = dataclasses.replace(RUNS["b"], dataset="other")
    lines = compared.lines([("a", RUNS["a"]), ("b", other)])
    said = compared.headline(lines)
    assert "on fashion_mnist_small, none is both smaller and more accurate than 2 cp (92" in said
    assert "on other, none is both smaller and more accurate than 4 xnor (90.00%), 3 base" in said
    alt = compared.picture(lines).alt
    assert "file size, KiB, other: on the front, from the cheapest, 4 xnor (8.789" in alt
    assert "latency median, ms, fashion_mnist_small: on" in alt


def test_one_run_is_enough(folders, tmp_path):
    assert compare.main(["compare", folders[2], f"--output={tmp_path / 'runs.html'}"]) == 0
    assert_inert((tmp_path / "runs.html").read_text())


def changed(folder, **values):
    def write():
        kept = json.loads(json_text(RUN)) | values
        return json.dumps({key: value for key, value in kept.items() if value is not None})

    (folder / "report.json").write_text(write())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "bad has no report.json: it isn't the folder of a finished run"),
        ("{", "report.json isn't valid JSON (Expecting property name"),
        ("\xff", "report.json isn't valid JSON"),
        ("[1]", "report.json isn't a run's report"),
        ('{"files": []}', "report.json isn't a run's report"),
        (
            {"schema": 99},
            "has schema 99 and this tfcompress reads 1: use the version that wrote it",
        ),
        ({"ratio": None, "files": None}, "report.json lacks 'ratio': repeat the run"),
        ({"baseline": {"path": "b"}}, "report.json isn't a whole report"),
        ({"baseline": [1]}, "report.json isn't a whole report"),
        ({"test_images": {}, "histories": {"other": []}}, "isn't a whole report (histories are"),
    ],
)
def test_unusable_folders(folders, tmp_path, capsys, content, message):
    bad = tmp_path / "bad"
    bad.mkdir()
    if isinstance(content, dict):
        changed(bad, **content)
    elif content is not None:
        (bad / "report.json").write_text(content, encoding="latin-1")
    output = tmp_path / "runs.md"
    assert message in error_of(capsys, folders[0], str(bad), f"--output={output}")
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one folder of a finished run"),
        (["/no/such/folder"], "no folder /no/such/folder: give the output folders of finished"),
        (["--sort=colour", "x"], "--sort takes one of accuracy, latency, latency_ratio"),
        (["--output=runs.pdf", "x"], "--output takes a file ending in .md, .csv, .html; got"),
        (["--output=/no/such/runs.md", "x"], "--output: the folder /no/such doesn't exist"),
        (["--nonsense=1"], "nonsense"),
    ],
)
def test_bad_usage(capsys, words, message):
    assert message in error_of(capsys, *words)


def test_help(capsys):
    assert compare.main(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "python -m tfcompress.compare runs/*" in text
    assert "--output: " in text
    assert "--sort: by accuracy, " in text
