from tests.report.conftest import BITS, COMPRESSED
from tfcompress.report.table import comparison, console_table


def test_rows(run):
    found = {
        row.label: (row.baseline, row.cells[0].value, row.cells[0].change)
        for row in comparison(run())
    }
    assert found == {
        "accuracy of the file": ("0.9145", "0.9085", "-0.60 points"),
        "accuracy in Keras": ("0.9145", "0.9090", "-0.55 points"),
        "labels as in Keras": ("1.0000", "0.9995", ""),
        "file size, KiB": ("35.2", "9.8", "0.28x"),
        "after gzip, KiB": ("29.3", "5.9", "0.20x"),
        "packed as .tfz, KiB": ("28.0", "3.0", "0.11x"),
        "latency median, ms": ("1.00", "0.500", "0.48x (0.46 to 0.51)"),
        "latency 90th percentile, ms": ("1.20", "0.600", "0.50x"),
        "peak memory, MiB": ("60.0", "60.0", "1.00x"),
        "parameters": ("1,000", "1,000", "1.00x"),
        "MACs, million": ("2.00", "1.00", "0.50x"),
        "training step, ms": ("10.0", "10.0", ""),
    }


def test_gaps(run):
    result = run(
        file_latency_ratio=None,
        file_latency_ratio_p10=None,
        file_latency_ratio_p90=None,
        file_latency_ms_p50=None,
        file_macs=None,
        file_accuracy_keras=None,
    )
    found = {row.label: (row.cells[0].value, row.cells[0].change) for row in comparison(result)}
    for label in ("latency median, ms", "MACs, million", "accuracy in Keras"):
        assert found[label] == ("-", "-")
    assert "- not measured" in console_table(result)


def test_console(run):
    text = console_table(run())
    assert "Ratio: xnor divided by baseline" in text
    assert "not measured" not in text
    assert "MACs, million" in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_column_for_each_file(run):
    result = run(files=[COMPRESSED, BITS])
    (size,) = [row for row in comparison(result) if row.label == "file size, KiB"]
    assert [(cell.value, cell.change) for cell in size.cells] == [
        ("9.8", "0.28x"),
        ("2.0", "0.056x"),
    ]
    text = console_table(result)
    assert text.splitlines()[0].split() == ["baseline", "int8", "ratio", "xnor", "ratio"]
    assert "the xnor network, stored as int8 and as xnor" in text


def test_the_baseline_alone(run):
    text = console_table(run(files=[], unwritten={"int8": "why"}))
    assert text.splitlines()[0].split() == ["baseline"]
    assert "0.9145" in text
