"""The papers' tables: findings follow from the rows, and one cell goes from images to its row."""

import argparse

import keras
import numpy as np
import paper_tables
import paper_tables_page as page
import pytest
from measurements import Measurements


def row(accuracy, size=1.0, ratio=1.0, step=None):
    return {
        "accuracy": accuracy,
        "size_bytes": 1000 * size,
        "size_ratio": size,
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
        (weak + page.LABELS, 0): row(0.40),
        (weak + page.SOFTMAX, 0): row(0.45),
        (strong + page.LABELS, 0): row(0.70),
        # Its pair is of another seed, so that they don't compare.
        (strong + page.SOFTMAX, 1): row(0.80),
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
        ("Hashed networks are slower", "refuted (0.700; it holds for 0 of 1 seed)"),
        ("Hashed networks train slower", "confirmed (2.000; it holds for 1 of 1 seed)"),
        ("Binary weights cost no", "confirmed (+0.00 points; it holds for 1 of 1 seed)"),
        ("Binary networks stay large", "refuted (0.940; it holds for 0 of 1 seed)"),
        ("Binary networks aren't faster", "confirmed (0.950; it holds for 1 of 1 seed)"),
        ("Binary weights train slower", "not measured"),
        ("XNOR-Net loses", "not measured"),
        ("Softmax outputs help the student of a weak", "confirmed (+5.00 points; it holds for 1"),
        ("Softmax outputs help the student of a strong", "not measured"),
    ],
)
def test_a_finding_follows_from_the_rows(results, start, expected):
    (line,) = (each for each in page.findings(results, ["vgg_small"]) if each[2:].startswith(start))
    assert f"vgg_small {expected}" in line


def test_the_page_shows_papers_and_ours_and_what_is_not_trained(results):
    made = page.page_of(results)
    lines = {cells[1]: cells for cells, _ in made.rows}
    assert lines["CP"][3:6] == ["87.5 (89.14)", "89.00 (87.00 to 91.00)", "750"]
    assert lines["CP"][6:10] == ["0.75", "0.750 (0.750 to 0.750)", "1.57", "1.15 (0.80 to 1.50)"]
    assert lines["compact"][4] == page.UNTRAINED
    assert "resnet8 and vgg16: not trained, no rows." in made.note
    epochs = ["50.0 / 60.0", "40.0 / 50.0", "30.0 / 40.0", "20.0 / 30.0", "10.0 / 20.0"]
    for cell in epochs:
        assert cell in made.note


def test_every_finding_and_published_figure_is_of_a_file():
    files = {file for net in page.NETS.values() for file in net.files}
    assert set(page.PUBLISHED) <= files
    for finding in page.FINDINGS:
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
    assert made["trained"].startswith("Keras")
    # What is trained is taken from its file the next time, and its history is kept.
    trained = bench.path("vgg_small", "float", 0)
    before = trained.stat().st_mtime_ns
    bench.trained("vgg_small", "float", 0)
    assert trained.stat().st_mtime_ns == before
    assert not trained.with_suffix(".checkpoint").exists()
    assert '"test_error"' in trained.with_suffix(".json").read_text()
