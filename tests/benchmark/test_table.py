from tfcompress.benchmark.measure import FileBenchmark
from tfcompress.benchmark.table import file_labels, milliseconds, remarks, table


def measured(path, **changes):
    values = {
        "path": path,
        "backend": "cpu",
        "threads": 2,
        "load_ms": 0.5,
        "first_ms": 12.0,
        "latency_ms_p50": 1.234,
        "latency_ms_p99": 2.5,
        "latency_runs": 1234,
        "block_runs": 1,
        "ratio": 0.5,
        "ratio_p10": 0.45,
        "ratio_p90": 0.55,
        "size_bytes": 2048,
        "gzip_bytes": 1024,
        "macs": None,
        "weight_bytes": 512,
        "gmacs_per_s": 12.345,
        "peak_share": 0.456,
    }
    return FileBenchmark(**{**values, **changes})


def rows(results):
    """The cells of both tables' rows."""
    blocks = table(results).split("\n\n")[:2]
    return [[line.split() for line in block.splitlines()[3:]] for block in blocks]


def test_values_and_gaps():
    ((size,), (time,)) = rows([measured("a/m.tflite")])
    assert size == ["m.tflite", "2.0", "1.0", "-", "0.5", "0.0"]
    assert time[:7] == ["m.tflite", "cpu", "x2", "ok", "1.23", "-", "2.50"]
    assert time[7:] == ["-", "0.50", "(0.45-0.55)", "0.500", "12.0", "-", "12.3", "46", "1,234"]


def test_a_file_has_one_row_of_sizes_and_one_of_times_per_backend():
    sizes, times = rows([measured("m.tflite"), measured("m.tflite", backend="gpu", threads=1)])
    assert (len(sizes), len(times)) == (1, 2)


def test_a_file_without_a_latency():
    failed = FileBenchmark(
        path="m.tflite",
        backend="gpu",
        threads=1,
        size_bytes=1,
        gzip_bytes=1,
        macs=5,
        outcome="crashed",
        reason="killed by SIGILL",
    )
    time = rows([measured("m.tflite"), failed])[1][1]
    assert time[3] == "crashed"
    assert set(time[4:]) == {"-"}
    labels = {"m.tflite": "m.tflite"}
    assert remarks([failed], labels) == ["m.tflite on gpu x1: crashed: killed by SIGILL"]


def test_adapters_and_warnings_are_said_once():
    gpu = {
        "backend": "gpu",
        "adapter": "Soft",
        "adapter_type": "CPU",
        "software": True,
        "precision": "fp32",
        "warnings": ("it may fail",),
    }
    told = remarks([measured("m.tflite", **gpu)] * 2, {"m.tflite": "m.tflite"})
    assert told == [
        "GPU: Soft (CPU), asked for fp32; times go on until the outputs are read.",
        "Soft is a CPU in a GPU's place: not a performance number.",
        "May fail on a GPU: m.tflite: it may fail.",
    ]


def test_ratio_without_spread():
    text = table([measured("m.tflite", ratio_p10=None, ratio_p90=None)])
    assert "0.50 " in text
    assert "(0.45" not in text


def test_what_was_measured_once_is_explained_only_if_it_was():
    assert "alone" not in table([measured("m.tflite")])
    assert "peak: 1" not in table([measured("m.tflite")])
    text = table(
        [
            measured(
                "m.tflite",
                peak_memory_bytes=3 << 20,
                baseline_memory_bytes=1 << 20,
                peak_gmacs_per_s=123.4,
                peak_dtype="int8",
            )
        ]
    )
    assert "alone: 1.0 MiB" in text
    assert "peak: 123 GMAC/s, a product of int8 matrices here with 2 threads." in text


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


def test_units_are_powers_of_two():
    file = measured(
        "m.tflite",
        size_bytes=123_456,
        gzip_bytes=65_432,
        weight_bytes=54_321,
        activation_bytes=7_777,
        peak_memory_bytes=300_000_000,
        baseline_memory_bytes=45_678_901,
    )
    ((size,), (time,)) = rows([file])
    assert size[1:] == ["120.6", "63.9", "-", "53.0", "7.6"]
    assert time[-4] == "286.1"
    assert "alone: 43.6 MiB" in table([file])


def test_rows_are_in_the_order_given():
    sizes, times = rows([measured("b.tflite", ratio=1.0), measured("a.tflite", ratio=3.0)])
    assert [row[0] for row in sizes] == [row[0] for row in times] == ["b.tflite", "a.tflite"]
    assert [row[8] for row in times] == ["1.00", "3.00"]
