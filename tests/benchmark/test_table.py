from tfcompress.benchmark.measure import FileBenchmark
from tfcompress.benchmark.table import file_labels, milliseconds, table


def measured(path, **changes):
    values = {
        "path": path,
        "backend": "cpu",
        "threads": 2,
        "load_ms": 0.5,
        "first_ms": 12.0,
        "latency_ms_p50": 1.234,
        "latency_ms_p90": None,
        "latency_ms_p99": None,
        "latency_ms_mean": 1.3,
        "latency_ms_std": None,
        "latency_runs": 1234,
        "block_runs": 1,
        "ratio": 0.5,
        "ratio_p10": 0.45,
        "ratio_p90": 0.55,
        "size_bytes": 2048,
        "gzip_bytes": 1024,
        "macs": None,
        "peak_memory_bytes": None,
        "baseline_memory_bytes": None,
    }
    return FileBenchmark(**{**values, **changes})


def test_values_and_gaps():
    row = table([measured("a/m.tflite")]).splitlines()[3].split()
    assert row[:6] == ["m.tflite", "cpu", "x2", "2.0", "1.0", "-"]
    assert row[6:] == ["1.23", "-", "0.50", "(0.45-0.55)", "0.500", "12.0", "-", "1,234"]


def test_ratio_without_spread():
    text = table([measured("m.tflite", ratio_p10=None, ratio_p90=None)])
    assert "0.50 " in text
    assert "(0.45" not in text


def test_baseline_memory_is_explained_only_if_measured():
    assert "alone" not in table([measured("m.tflite")])
    with_memory = table(
        [measured("m.tflite", peak_memory_bytes=3 << 20, baseline_memory_bytes=1 << 20)]
    )
    assert "alone: 1.0 MiB" in with_memory


def test_small_ratios_do_not_read_zero():
    text = table([measured("m.tflite", ratio=0.0031, ratio_p10=0.003, ratio_p90=0.0042)])
    assert "0.0031 (0.0030-0.0042)" in text


def test_labels_are_as_short_as_they_may_be():
    assert file_labels(["x/a/m.tflite", "x/b/m.tflite"]) == {
        "x/a/m.tflite": "a/m.tflite",
        "x/b/m.tflite": "b/m.tflite",
    }
    assert file_labels(["x/m.tflite", "x/m.tflite"]) == {"x/m.tflite": "m.tflite"}


def test_milliseconds():
    texts = [milliseconds(value) for value in (1234.5, 12.345, 0.5, 0.00112, None)]
    assert texts == ["1,234", "12.3", "0.500", "0.0011", "-"]
