"""MLPerf Tiny's image classification: what is committed is shown, and what isn't is called so."""

import mlperf_tiny_table
import readme
from measurements import Measurements

KEPT = Measurements(readme.RESULTS / "mlperf_tiny")


def test_the_page_is_rendered_from_the_rows():
    text = readme.TINY_PAGE.read_text()
    assert readme.tiny_page(text) == text
    assert set(KEPT.rows) <= set(mlperf_tiny_table.CELLS)
    for name in mlperf_tiny_table.CELLS:
        assert name in text


def test_a_target_names_the_best_file_that_is_small_enough(tmp_path):
    results = Measurements(tmp_path)
    rows = {
        "int8": (90_000, 0.872, 0.9),
        "dynamic": (90_000, 0.88, 1.1),
        "int4": (75_000, 0.86, 0.9),
        "float16": (160_000, 0.9, 0.9),
    }
    for name, (size, accuracy, ratio) in rows.items():
        results.rows[name] = {"size_bytes": size, "accuracy": accuracy, "ratio": ratio}
    lines = list(mlperf_tiny_table.verdicts(results))
    assert "int8 file: reached; `int8` has 87.20% in 90,000 bytes at 0.90 of" in lines[0]
    assert lines[1].endswith("no file that was measured is so small.")
    assert mlperf_tiny_table.cells_of("qat", None)[2] == "not measured yet"
