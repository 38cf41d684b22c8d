"""The command that joins reports: its table, its files, and what it says to bad input."""

import csv
import dataclasses
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

from tests.report.conftest import COMPRESSED, RUN
from tests.report.pages import assert_inert
from tests.tiny import tiny as tiny
from tfcompress import compare
from tfcompress.report import compared
from tfcompress.report.write import json_text
from tfcompress.runtime import LiteModel, Metadata
from tfcompress.tflite import metadata_writer

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
        "size, KiB | accuracy, % | inference ratio | size ratio | accuracy, points |"
    )
    common = r"vgg\_small | fashion\_mnist\_small | 3"
    assert rows == [
        f"| 1 | baseline | {common} | 10.0 | 1.00 | 35.2 | 91.45 | - | - | - |",
        f"| 2 | cp | {common} | 25.0 | 2.00 | 17.6 | 92.00 | 2.00x | 0.50x | +0.55 |",
        f"| 3 | xnor | {common} | 25.0 | 0.500 | 8.8 | 90.00 | 0.50x | 0.25x | -1.45 |",
        f"| 4 | dynamic | {common} | 25.0 | - | 9.3 | 89.00 | - | 0.26x | -2.45 |",
    ]


def test_latencies_name_their_processors():
    here = {"cpu": "Some CPU", "features": ["AVX2", "VNNI"], "cores": 2}
    a, b = (dataclasses.replace(RUNS[name], machine=here) for name in "ab")
    one = compared.markdown(compared.lines([("a", a), ("b", b)]))
    assert one.endswith(" -: not measured. Inferences on Some CPU (AVX2, VNNI).\n")
    # The report of b is of a version that recorded no features; line 1 is the baseline of both.
    two = compared.note(compared.lines([("a", a), ("b", RUNS["b"])]))
    assert two.endswith(
        " Inferences: no. 1, 2 on Some CPU (AVX2, VNNI); no. 3 on Some CPU (features not recorded)."
    )


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
        text.count('scope="col"') == 12 - 1 + 2
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
        ("{", "report.json isn't valid JSON (Expecting property name"),
        ("\xff", "report.json isn't valid JSON"),
        ("[1]", "report.json isn't a run's report"),
        ('{"files": []}', "report.json isn't a run's report"),
        (
            {"schema": 99},
            "has schema 99 and this tfcompress reads 1: use the version that wrote it",
        ),
        ({"ratio": None, "files": None}, "isn't a whole report (ratio is missing): repeat"),
        ({"baseline": {"path": "b"}}, "report.json isn't a whole report"),
        ({"baseline": [1]}, "report.json isn't a whole report"),
        ({"histories": {"other": []}}, "isn't a whole report (histories are"),
    ],
)
def test_unusable_folders(folders, tmp_path, capsys, content, message):
    bad = tmp_path / "bad"
    bad.mkdir()
    if isinstance(content, dict):
        changed(bad, **content)
    else:
        (bad / "report.json").write_text(content, encoding="latin-1")
    output = tmp_path / "runs.md"
    assert message in error_of(capsys, folders[0], str(bad), f"--output={output}")
    assert not output.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give at least one folder of a finished run, or .tflite files"),
        (["/no/such/folder"], "no file or folder /no/such/folder: give folders of finished runs"),
        ([__file__], ".py: give folders of finished runs, which have a report.json, or .tflite"),
        (["--sort=size", __file__], "--sort is for the folders of finished runs"),
        (["--sort=colour", "x"], "--sort takes one of accuracy, latency, latency_ratio"),
        (["--output=runs.pdf", "x"], "--output takes a file ending in .md, .csv, .html; got"),
        (["--output=/no/such/runs.md", "x"], "--output: the folder /no/such doesn't exist"),
        (["--nonsense=1"], "nonsense"),
    ],
)
def test_bad_usage(capsys, words, message):
    assert message in error_of(capsys, *words)


def test_what_is_no_run_is_passed_over(folders, tmp_path, capsys):
    """As a shell's star brings it: a page beside the folders, and a run that isn't finished."""
    (tmp_path / "README.md").write_text("text")
    (tmp_path / "unfinished").mkdir()
    paths = sorted(map(str, tmp_path.iterdir()))
    assert compare.main(["compare", *paths]) == 0
    captured = capsys.readouterr()
    assert "| 3 | xnor" in captured.out
    assert captured.err == (
        f"passed over, with no report.json of a finished run: {tmp_path / 'README.md'}, "
        f"{tmp_path / 'unfinished'}\n"
    )


def test_the_published_files(capsys):
    root = pathlib.Path(__file__).parents[1] / "tflite_models"
    assert compare.main(["compare", *sorted(map(str, root.iterdir()))]) == 0
    captured = capsys.readouterr()
    rows = [line for line in captured.out.splitlines() if "compressed.tflite" in line]
    assert len(rows) == len([*root.glob("*/*.tflite")])
    assert "README.md" in captured.err


@pytest.fixture(scope="module")
def classifiers(tiny, tmp_path_factory):
    """The float and the int8 file of one network, with labels and normalisation; and a folder."""
    folder = tmp_path_factory.mktemp("classifiers")
    said = Metadata(labels=("ant/bee", "Big cat", "dog", "eel", "fox"), mean=(128.0,), std=(64.0,))
    for name, path in (("float", tiny.path), ("int8", tiny.int8_path)):
        (folder / f"{name}.tflite").write_bytes(path.read_bytes())
        metadata_writer.write_metadata(folder / f"{name}.tflite", said)
    rng = np.random.default_rng(0)
    for number in range(12):
        kind = folder / "images" / ("ant_bee", "big cat", "else")[number % 3]
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            kind / f"{number}.png"
        )
    return folder


def by_hand(folder, model):
    """What the file says of the images: (folder's name, class) in the command's order."""
    paths = sorted((folder / "images").rglob("*.png"))
    pixels = np.stack([np.asarray(Image.open(path), np.float32) for path in paths])
    outputs = LiteModel(folder / model).predict((pixels - 128) / 64)
    return [path.parent.name for path in paths], outputs


def test_files_on_images(classifiers, tmp_path, capsys):
    names, floats = by_hand(classifiers, "float.tflite")
    _, integers = by_hand(classifiers, "int8.tflite")
    classes = {"ant_bee": 0, "big cat": 1}
    words = [str(classifiers / f"{name}.tflite") for name in ("float", "int8")]
    words.append(f"--images={classifiers / 'images'}")
    output = tmp_path / "files.csv"
    assert compare.main(["compare", *words, f"--output={output}"]) == 0
    assert capsys.readouterr().out == f"2 files in {output}\n"
    first, second = csv.DictReader(output.open(newline=""))
    for row, outputs in ((first, floats), (second, integers)):
        judged = [(got, classes[name]) for got, name in zip(outputs.argmax(1), names, strict=True)
                  if name in classes]  # fmt: skip
        assert len(judged) == 8
        assert float(row["accuracy"]) == np.mean([got == wanted for got, wanted in judged])
    assert float(first["agreement"]) == 1
    assert float(first["largest_difference"]) == 0
    same = np.mean(floats.argmax(1) == integers.argmax(1))
    assert float(second["agreement"]) == pytest.approx(same)
    difference = np.abs(floats - integers).max()
    assert float(second["largest_difference"]) == pytest.approx(difference, abs=1e-6)
    assert compare.main(["compare", *words]) == 0
    text = capsys.readouterr().out
    assert "| accuracy, % | same label as 1, % | largest difference |" in text
    assert "On 12 images, accuracy on 8 in folders named as a label." in text
    page = tmp_path / "files.html"
    assert compare.main(["compare", *words, f"--output={page}"]) == 0
    assert_inert(page.read_text())
    assert "same label as 1, %" in page.read_text()


def test_images_in_no_folder_of_a_class(classifiers, capsys):
    words = [str(classifiers), f"--images={classifiers / 'images' / 'else'}"]
    assert compare.main(["compare", *words]) == 0
    text = capsys.readouterr().out
    assert "On 4 images, no accuracy, for no folder is named as a label of the files." in text
    assert "float.tflite | float32 1x8x8x3 |" in text  # Both files of the folder.
    assert text.count("| - |") == 2


def test_files_that_cannot_be_compared_on_images(tiny, classifiers, capsys):
    words = [str(tiny.path), f"--images={classifiers / 'images'}"]
    assert "doesn't say how pixels are normalised" in error_of(capsys, *words)
    there = str(classifiers / "float.tflite")
    assert "there are no images in" in error_of(capsys, there, "--images=" + str(tiny.path.parent))
    assert "--images: /no/such is not a folder" in error_of(capsys, there, "--images=/no/such")


def test_help(capsys):
    assert compare.main(["compare", "--help"]) == 0
    text = capsys.readouterr().out
    assert "python -m tfcompress.compare runs/*" in text
    assert "--output: " in text
    assert "--sort: runs by accuracy, " in text
    assert "--images: a folder of images" in text


@pytest.mark.parametrize("given", ["folder", "file"])
def test_a_pipe_isnt_waited_for(tmp_path, capsys, given):
    pipe = tmp_path / "m.tflite"
    os.mkfifo(pipe)
    assert str(tmp_path) in error_of(capsys, str(tmp_path if given == "folder" else pipe))


OWN = """
import numpy as np

def examples():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 8, 8, 3)).astype("float32")
    y = np.arange(40) % 5
    return (x[:30], y[:30]), (x[30:], y[30:])
"""


def test_files_on_other_data(tiny, tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN)
    words = [str(tiny.path), str(tiny.int8_path), f"--dataset={tmp_path}/own.py:examples"]
    path = tmp_path / "files.csv"
    assert compare.main(["compare", *words, f"--output={path}"]) == 0
    rows = list(csv.DictReader(path.open(newline="")))
    x = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype("float32")[30:]
    expected = LiteModel(tiny.path).predict(x)
    for row, file in zip(rows, (tiny.path, tiny.int8_path), strict=True):
        outputs = LiteModel(file).predict(x)
        assert row["metric_name"] == "accuracy"
        assert float(row["value"]) == (outputs.argmax(1) == np.arange(30, 40) % 5).mean()
        rms = np.sqrt(((outputs - expected) ** 2).mean() / (expected**2).mean())
        assert float(row["relative_rms"]) == pytest.approx(rms, rel=1e-4)
    capsys.readouterr()
    assert "unknown metric 'aucc'" in error_of(capsys, *words, "--metric=aucc")
    images = ["--dataset=fashion_mnist_small"]
    assert "give --images=FOLDER" in error_of(capsys, *words[:2], *images)
    assert "give one of them" in error_of(capsys, *words, "--images=x")
    assert "--metric and --set are for --dataset" in error_of(capsys, words[0], "--metric=mae")
