import csv
import html.parser
import json
import os
import re

import pytest

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
    "report.json",
]
EVIL = '<script>alert("x")</script>|`&'


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and that every tag is closed in order."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


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


def test_failure_while_rendering_touches_no_file(run, tmp_path, monkeypatch):
    write_all(run(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise RuntimeError("no such font")

    monkeypatch.setattr(write, "html", fail)
    with pytest.raises(RuntimeError, match="no such font"):
        write_all(run(file_accuracy=0.1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_history_takes_what_rows_have(run, tmp_path):
    histories = {
        "baseline": [{"epoch": 1, "loss": float("nan"), "extra": 7, "train_error": 0.5}],
        "compressed": [{"epoch": 1, "loss": 0.25, "learning_rate": 0.001}],
    }
    write_all(run(histories=histories), tmp_path)
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["stage", "epoch", "loss", "train_error", "learning_rate", "extra"]
    assert list(rows[0].values()) == ["baseline", "1", "", "0.5", "", "7"]
    assert list(rows[1].values()) == ["compressed", "1", "0.25", "", "0.001", ""]


def test_page_is_whole_and_fetches_nothing(run):
    text = page(run(), plots.pictures(run()))
    found = Page(text)
    assert found.open == []
    assert found.tags.count("svg") == 2
    assert not {"script", "iframe", "img", "object"} & set(found.tags)
    assert ("name", "viewport") in found.attributes
    assert "prefers-color-scheme: dark" in text
    for key, value in found.attributes:
        if key in ("src", "href", "xlink:href", "action"):
            assert value.startswith(("#", "data:"))
    assert not re.search(r"@import|url\((?!#)", text)


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
    )


def test_names_are_inert_in_the_page(run):
    result = evil_run(run)
    text = page(result, plots.pictures(result))
    found = Page(text)
    assert "script" not in found.tags
    assert "<script" not in text
    assert 'alert("x")' not in text.replace("&#34;", "'")
    assert found.open == []


def test_names_are_inert_in_markdown(run):
    result = evil_run(run)
    text = markdown(result, plots.pictures(result))
    # The command stands in an indented block, where nothing is markup.
    outside = [line for line in text.splitlines() if not line.startswith("    ")]
    assert "<script" not in "\n".join(outside)
    layer = next(line for line in outside if line.count("alert") == 4)
    assert len(re.findall(r"(?<!\\)\|", layer)) == 5


def test_markdown_links_the_pictures(run):
    text = markdown(run(), plots.pictures(run()))
    assert text.startswith("# xnor on vgg\\_small, fashion\\_mnist\\_small\n")
    assert "](errors.svg)" in text
    assert "](tradeoff.svg)" in text
    assert "| file size, KiB | 35.2 | 9.8 | 0.28x |" in text
    assert "| conv\\_1 | Conv2D | kept | it reads the image |" in text
    assert "    python -m tfcompress.run --technique=xnor --seed=3" in text


def test_untimed_files_are_not_given_zero_runs(run):
    facts = dict(write.facts(run(file_latency_runs=None)))
    assert facts["timed inferences"] == "baseline 200, compressed not timed"
    assert "Latency was not compared." in write.limits(
        run(latency_ratio=None, latency_ratio_p10=None, latency_ratio_p90=None)
    )


def test_the_ten_layers_where_rounding_shows_most(run):
    errors = {f"layer{i}": i / 1000 for i in range(12)}
    result = run(layer_errors=errors)
    assert [name for name, _ in result.worst_layers] == [f"layer{i}" for i in range(11, 1, -1)]
    for text in (markdown(result, []), page(result, [])):
        assert "Where the rounding shows" in text
        assert "1.10%" in text
        assert "layer2" in text
        assert "layer1<" not in text
        assert "layer1 " not in text
    assert json.loads(write.json_text(result))["layer_errors"] == errors
    for text in (markdown(run(), []), page(run(), [])):
        assert "rounding shows" not in text
