"""The papers' tables: findings follow from the rows, and one cell goes from images to its row."""

import argparse

import keras
import numpy as np
import paper_tables
import paper_tables_page as page
import paper_tables_papers as papers
import pytest
from measurements import Measurements
from page import text_of


def row(accuracy, size=1.0, ratio=1.0, step=None):
    return {
        "accuracy": accuracy,
        "size_bytes": 1000 * size,
        "size_ratio": size,
        "parameters_ratio": size / 2,
        "macs_ratio": 1.0,
        "ratio": ratio,
        "step_ratio": step,
        "trained": "Keras",
    }


@pytest.fixture
def results(tmp_path):
    made = Measurements(tmp_path)
    made.settings = {"epochs": 5}
    made.made = [{"command": "x", "date": "2026-01-01", "cpu": "c", "cores": 1, "versions": {}}]
    history = [{"train_error": 0.5 - 0.1 * n, "test_error": 0.6 - 0.1 * n} for n in range(5)]
    weak, strong = (f"student of the {each} teacher, " for each in ("weak", "strong"))
    rows = {
        # The mean of two seeds is a point below, though one seed is above.
        ("CP", 0): row(0.87, size=0.75, ratio=1.5),
        ("CP", 1): row(0.91, size=0.75, ratio=0.8),
        ("float32", 0): {**row(0.90), "history": history},
        ("float32", 1): row(0.90),
        ("HashedNets", 0): row(0.89, size=0.2, ratio=0.7, step=2.0),
        ("Binary-Weight-Network", 0): row(0.90, size=0.94, ratio=0.95),
        (weak + papers.LABELS, 0): row(0.40),
        (weak + papers.SOFTMAX, 0): row(0.45),
        (strong + papers.LABELS, 0): row(0.70),
        # Its pair is of another seed, so that they don't compare.
        (strong + papers.SOFTMAX, 1): row(0.80),
    }
    for (file, seed), each in rows.items():
        made.rows[page.key_of("vgg_small", file, seed)] = {"made": 0, **each}
    return made


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("CP loses", "confirmed (-1.00 points; it holds for 1 of 2 seeds)"),
        ("CP is smaller", "confirmed (0.750; it holds for 2 of 2 seeds)"),
        ("CP is slower", "confirmed (1.150; it holds for 1 of 2 seeds)"),
        ("Hashed networks have fewer", "confirmed (0.100; it holds for 1 of 1 seed)"),
        ("Hashed networks are slower", "refuted (0.700; it holds for 0 of 1 seed)"),
        ("Hashed networks train slower", "confirmed (2.000; it holds for 1 of 1 seed)"),
        ("Binary weights cost no", "confirmed (+0.00 points; it holds for 1 of 1 seed)"),
        ("Binary networks stay large", "refuted (0.940; it holds for 0 of 1 seed)"),
        ("Binary networks aren't faster", "confirmed (0.950; it holds for 1 of 1 seed)"),
        ("Binary weights train slower", "not measured yet"),
        ("XNOR-Net loses", "not measured yet"),
        ("Softmax outputs help the student of a weak", "confirmed (+5.00 points; it holds for 1"),
        ("Softmax outputs help the student of a strong", "not measured yet"),
    ],
)
def test_a_finding_follows_from_the_rows(results, start, expected):
    (line,) = (each for each in page.findings(results, ["vgg_small"]) if each[2:].startswith(start))
    assert f"vgg_small {expected}" in line


def test_the_page_shows_papers_and_ours_and_what_is_not_trained(results):
    made = page.page_of(results)
    lines = {cells[1]: cells for cells, _ in made.rows if cells[0] == "vgg_small"}
    assert lines["CP"][3:6] == ["87.5 (89.14)", "89.00 (87.00 to 91.00)", "750"]
    costs = dict(zip(made.headers, lines["CP"], strict=True))
    assert (costs["paper's size"], costs["size"]) == ("0.75", "0.750 (0.750 to 0.750)")
    assert (costs["paper's parameters"], costs["parameters"][:5]) == ("0.77", "0.375")
    assert (costs["paper's latency"], costs["latency"]) == ("1.57", "1.15 (0.80 to 1.50)")
    assert (costs["paper's MACs"], costs["training step"]) == ("", "")
    assert lines["compact"][4] == "not measured yet"
    assert {cells[0] for cells, _ in made.rows} == {"vgg_small", "resnet8"}
    assert "vgg16: not trained, no rows." in made.note
    assert "; resnet8 not measured yet." in made.note
    epochs = ["50.0 / 60.0", "40.0 / 50.0", "30.0 / 40.0", "20.0 / 30.0", "10.0 / 20.0"]
    for cell in epochs:
        assert cell in made.note


def test_a_page_without_rows_says_so_in_each_line(tmp_path):
    empty = Measurements(tmp_path)
    empty.settings = {"epochs": 5}
    made = page.page_of(empty)
    assert all(cells[4] == "not measured yet" and not keys for cells, keys in made.rows)
    assert text_of(made, empty.records).splitlines()[2] == "No row is measured yet."
    assert {page.verdict(empty, "x", each) for each in papers.FINDINGS} == {"not measured yet"}


def test_every_finding_and_published_figure_is_of_a_file():
    files = {file for net in page.NETS.values() for file in net.files}
    assert set(papers.PUBLISHED) <= files
    for finding in papers.FINDINGS:
        assert {finding.file, finding.other} <= files
    assert {net.teacher for net in page.NETS.values() if net.teacher} <= set(page.NETS)


def test_a_weak_teacher_sees_a_share_of_each_class(tmp_path):
    write_images(tmp_path, 500)
    few = paper_tables.fewer(paper_tables.images(tmp_path, None))
    assert np.bincount(few.train.labels).tolist() == [2] * 10


def write_images(folder, count):
    rng = np.random.default_rng(0)
    parts = {}
    for name, size in (("train", count), ("test", 50)):
        parts[name] = rng.integers(0, 256, (size, 32, 32, 3), dtype="uint8")
        parts[f"{name}_labels"] = np.arange(size, dtype="int32") % 10
    texts = dict.fromkeys(paper_tables.TEXTS, "made up") | {"augmentation": "none"}
    np.savez(folder / paper_tables.IMAGES, **parts, **texts, class_names=[*"abcdefghij"])


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--seeds=0"], "--seeds takes a number from 1 on; got 0"),
        (["--nets=cp,tucker"], "--nets takes some of float,cp,"),
        (["--models=vgg_large"], "--models takes some of "),
        (["--until=train", "--again"], "--again is of measurements: leave it or --until=train out"),
        (["--until=all"], "choose from"),
    ],
)
def test_wrong_flags_are_one_line(tmp_path, capsys, monkeypatch, flags, line):
    words = [f"--work={tmp_path}", f"--output={tmp_path}", *flags]
    assert line in refusal(capsys, monkeypatch, words)


def refusal(capsys, monkeypatch, words):
    """Returns the only line that the command prints, which ends with status 2."""
    monkeypatch.setattr("sys.argv", ["experiments/paper_tables.py", *words])
    with pytest.raises(SystemExit) as ended:
        paper_tables.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_a_machine_without_tfds_is_told_what_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(paper_tables.importlib.util, "find_spec", lambda name: None)
    words = ["--until=train", f"--work={tmp_path}", f"--output={tmp_path}"]
    line = refusal(capsys, monkeypatch, words)
    assert "cifar10.npz isn't there, and TFDS isn't installed: write it by --until=images" in line


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="files need TensorFlow")
def test_a_cell_goes_from_images_to_its_rows(tmp_path):
    write_images(tmp_path, 200)
    flags = argparse.Namespace(work=tmp_path, data_dir=None, epochs=1, runs=3, rounds=1)
    bench = paper_tables.Bench(flags)
    rows = bench.measured("vgg_small", "minmax8", 0)
    (made,) = rows.values()
    assert set(rows) == {"vgg_small, 8 bits, simulated, seed 0"}
    assert made["accuracy"] * 50 == pytest.approx(round(made["accuracy"] * 50))
    assert made["size_bytes"] > 900_000
    assert 0.99 < made["size_ratio"] < 1.05
    assert made["history"] == []
    assert made["ratio"] > 0
    assert (made["parameters"], made["macs_ratio"]) == (246_314, 1.0)
    assert made["trained"].startswith("Keras")
    # What is trained is taken from its file the next time, and its history is kept.
    trained = bench.path("vgg_small", "float", 0)
    before = trained.stat().st_mtime_ns
    bench.trained("vgg_small", "float", 0)
    assert trained.stat().st_mtime_ns == before
    assert not trained.with_suffix(".checkpoint").exists()
    assert '"test_error"' in trained.with_suffix(".json").read_text()
