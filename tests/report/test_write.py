import csv
import dataclasses
import html
import io
import json
import os
import re

import pytest

from tests.report.conftest import BITS, COMPRESSED
from tests.report.pages import Page, assert_inert
from tfcompress.report import plots, write
from tfcompress.report.write import html as page
from tfcompress.report.write import markdown, write_all

NAMES = [
    "report.md",
    "report.html",
    "history.csv",
    "errors.svg",
    "errors.png",
    "tradeoff.svg",
    "tradeoff.png",
    "pareto.svg",
    "pareto.png",
    "layers.svg",
    "layers.png",
    "report.json",
]
EVIL = '<script>alert("x")</script>|`&'


def test_everything_is_written(run, tmp_path):
    paths = write_all(run(), tmp_path / "out")
    assert [path.name for path in paths] == NAMES
    assert sorted(os.listdir(tmp_path / "out")) == sorted(NAMES)
    assert json.loads((tmp_path / "out" / "report.json").read_text()) == run().to_json()


def test_a_run_without_histories(run, tmp_path):
    names = [path.name for path in write_all(run(histories={}), tmp_path)]
    assert names == [name for name in NAMES if not name.startswith("errors")]
    header = (tmp_path / "history.csv").read_text()
    assert header == "stage,epoch,loss,train_error,test_error,learning_rate,step_ms,seconds\n"


def test_failure_while_rendering_touches_no_file(run, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "pictures", lambda result: drawn)
    write_all(run(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise RuntimeError("no such font")

    monkeypatch.setattr(write, "html", fail)
    with pytest.raises(RuntimeError, match="no such font"):
        write_all(run(file_accuracy=0.1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_history_takes_what_rows_have(run):
    histories = {
        "baseline": [{"epoch": 1, "loss": float("nan"), "extra": 7, "train_error": 0.5}],
        "compressed": [{"epoch": 1, "loss": 0.25, "learning_rate": 0.001}],
    }
    rows = list(csv.DictReader(io.StringIO(write.history_csv(run(histories=histories)))))
    assert list(rows[0]) == ["stage", "epoch", "loss", "train_error", "learning_rate", "extra"]
    assert list(rows[0].values()) == ["baseline", "1", "", "0.5", "", "7"]
    assert list(rows[1].values()) == ["compressed", "1", "0.25", "", "0.001", ""]


def test_page_is_whole_and_fetches_nothing(run, drawn):
    text = page(run(), drawn)
    assert Page(text).tags.count("svg") == 4
    assert_inert(text)


def test_page_without_what_was_not_measured(run):
    """A run of the least that there can be."""
    bare = run(
        **dict.fromkeys(("layers", "baseline_layers", "file_layers", "benchmarks", "notes"), ()),
        **{name: {} for name in ("histories", "versions", "machine", "config", "file_parity")},
        **dict.fromkeys(f"file_latency_ratio{end}" for end in ("", "_p10", "_p90")),
        **dict.fromkeys(("file_latency_ms_p50", "file_macs", "file_gzip_bytes", "test_images")),
        command="",
        reference="",
        dataset_split="",
    )
    text = page(bare, plots.pictures(bare))
    assert_inert(text)
    assert "its speed was not measured" in text
    said = headings(text)
    assert said == [
        "Before and after",
        "What the file costs",
        "Cost against accuracy",
        "How it was made",
        "What the numbers don't say",
    ]


def test_page_has_all_parts(run, drawn):
    text = page(run(file_layer_errors={"conv_2": 0.01}), drawn)
    assert headings(text) == [
        "Before and after",
        "Error by epoch",
        "What the file costs",
        "Cost against accuracy",
        "Where the bytes and the work are",
        "What each layer costs",
        "Where the time goes",
        "What was done to each layer",
        "Where the rounding shows",
        "How it was made",
        "What the numbers don't say",
    ]
    # By keyboard: past the title, into what scrolls, and what is folded opens by itself.
    found = Page(text)
    assert ("href", "#main") in found.attributes
    assert ("id", "main") in found.attributes
    assert found.tags.count("summary") == found.tags.count("details") == 3
    assert found.tags.count("caption") == found.tags.count("table")
    assert text.count('tabindex="0" role="region" aria-label=') == 1
    for cell in (
        "Conv2D → BinaryConv2D",
        "<td>3,200</td><td>400</td><td>1,200,000</td><td>200,000</td>",
        "<td>0.750 (2)</td><td>0.375 (2)</td>",
        "2 layers: 1 kept, 1 binarized",
        "<td>30.00</td><td>32.00</td>",
    ):
        assert cell in text
    for alt in (picture.alt for picture in drawn):
        assert alt in html.unescape(text)


def headings(text):
    return [
        html.unescape(heading) for heading in re.findall(r"<h2>(.*?)</h2>", text, flags=re.DOTALL)
    ]


def test_page_says_what_was_found_and_how(run):
    text = " ".join(Page(page(run(), [])).texts)
    for words in (
        "3.6 times smaller and 2.1 times faster",
        "0.48x (0.46 to 0.51)",
        "it reads the image",
        "python -m tfcompress.run --technique=xnor --seed=3",
        "Rastegari",
        "keras 3.15.1",
        "memory 8.0 GiB",
        "8,000 train, 2,000 test",
        "One seed (3) is one seed",
        "not on a phone",
        "One image is 0.05 points.",
        "max_abs_diff 2e-06",
    ):
        assert words in text


def evil_run(run):
    return run(
        technique=EVIL,
        model=EVIL,
        dataset=EVIL,
        command=EVIL,
        notes=[EVIL],
        layers=[{"name": EVIL, "kind": EVIL, "action": EVIL, "reason": EVIL}],
        versions={EVIL: EVIL},
        machine={EVIL: EVIL},
        baseline_layers=[{"name": EVIL, "kind": EVIL, "macs": 1, "bytes": 1}],
        file_layers=[{"name": EVIL, "kind": EVIL, "macs": 1, "bytes": 1}],
        file_layer_errors={EVIL: 0.5},
        benchmarks=[{"profile": {"ops": [{"name": EVIL, "ms": 1.0}]}}] * 2,
    )


def test_names_are_inert_in_the_page(run):
    result = evil_run(run)
    text = page(result, plots.pictures(result))
    assert_inert(text)
    assert "<script" not in text
    assert 'alert("x")' not in text.replace("&#34;", "'")


def test_names_are_inert_in_markdown(run):
    result = evil_run(run)
    text = markdown(result, [plots.cost_points(result)])
    # The command stands in an indented block, where nothing is markup.
    outside = [line for line in text.splitlines() if not line.startswith("    ")]
    assert "<script" not in "\n".join(outside)
    layer = next(line for line in outside if line.count("alert") == 4)
    assert len(re.findall(r"(?<!\\)\|", layer)) == 5


def test_markdown_links_the_pictures(run, drawn):
    text = markdown(run(), drawn)
    assert text.startswith("# xnor on vgg\\_small, fashion\\_mnist\\_small\n")
    assert "](errors.svg)" in text
    assert "](tradeoff.svg)" in text
    assert "| file size, KiB | 35.2 | 9.8 | 0.28x |" in text
    assert "| conv\\_1 | Conv2D | kept | it reads the image |" in text
    assert "    python -m tfcompress.run --technique=xnor --seed=3" in text
    layers, ops = (
        text.split(f"## {title}\n\n")[1].split("\n\n")[0]
        for title in ("What each layer costs", "Where the time goes")
    )
    for found, columns in ((layers, 6), (ops, 3)):
        assert {line.count("|") for line in found.splitlines()} == {columns + 1}
        assert len(found.splitlines()) >= 3
    assert "Conv2D → BinaryConv2D | 3,200 | 400 | 1,200,000 | 200,000 |" in layers
    assert "| 0.750 (2) | 0.375 (2) |" in ops


def test_untimed_files_are_not_given_zero_runs(run):
    facts = dict(write.facts(run(file_latency_runs=None)))
    assert facts["timed inferences"] == "baseline 200, compressed not timed"
    assert "Latency was not compared." in write.limits(
        run(file_latency_ratio=None, file_latency_ratio_p10=None, file_latency_ratio_p90=None)
    )


def test_what_a_container_is_stands_where_there_is_one(run):
    told = "tfcompress.pack --unpack"
    assert any(told in line for line in write.limits(run()))
    assert not any(told in line for line in write.limits(run(file_packed_bytes=None)))


def test_the_ten_layers_where_rounding_shows_most(run):
    errors = {f"layer{i}": i / 1000 for i in range(12)}
    result = run(file_layer_errors=errors)
    assert [name for name, _ in result.compressed.worst_layers] == [
        f"layer{i}" for i in range(11, 1, -1)
    ]
    for text in (markdown(result, []), page(result, [])):
        assert "Where the rounding shows" in text
        assert "1.10%" in text
        assert "layer2" in text
        assert "layer1<" not in text
        assert "layer1 " not in text
    assert json.loads(write.json_text(result))["layer_errors"] == errors
    for text in (markdown(run(), []), page(run(), [])):
        assert "rounding shows" not in text


def test_every_page_of_a_run_with_several_files_and_of_one_without_any(run, tmp_path):
    several = run(files=[COMPRESSED, BITS], file_layer_errors={})
    write.write_all(several, tmp_path / "several")
    text = (tmp_path / "several" / "report.md").read_text()
    assert (
        "| | baseline | int8 | ratio | xnor | ratio |\n| --- | ---: | ---: | ---: | ---: | ---: |"
        in text
    )
    assert "| file size, KiB | 35.2 | 9.8 | 0.28x | 2.0 | 0.056x |" in text
    assert (
        "| layer | kind | bytes before | bytes, int8 | bytes, xnor | MACs before | MACs after |"
        in text
    )
    assert "| conv\\_2 | Conv2D → BinaryConv2D | 3,200 | 400 | 50 | 1,200,000 | 200,000 |" in text
    page = (tmp_path / "several" / "report.html").read_text()
    assert "<td>2.0</td><td>0.056x</td>" in page
    profiles = [*several.benchmarks, {"profile": {"ops": [], "unavailable": "no profiler"}}]
    text = markdown(dataclasses.replace(several, benchmarks=profiles), [])
    assert "how many there are. Not timed, xnor: no profiler." in text
    write.write_all(run(files=[], unwritten={"int8": "why"}), tmp_path / "none")
    assert "was not written as a file" in (tmp_path / "none" / "report.md").read_text()
    assert not list((tmp_path / "none").glob("tradeoff*"))


def test_the_machine_is_named_with_what_it_can_do(run):
    here = {
        "cpu": "Some CPU", "features": ["AVX2", "VNNI"], "int8_dot_product": True, "cores": 2,
        "cores_total": 4, "memory_bytes": 8 << 30, "commit": "0123abc+changes",
    }  # fmt: skip
    assert dict(write.facts(run(machine=here)))["machine"] == (
        "cpu Some CPU, cores 2, cores total 4, commit 0123abc+changes, memory 8.0 GiB, with AVX2 "
        "and VNNI"
    )
    older = {"cpu": "Some CPU", "cores": 2}
    assert dict(write.facts(run(machine=older)))["machine"].endswith("2, features not recorded")
