import types

import pytest

from tfcompress.benchmark import FileBenchmark
from tfcompress.pipeline import notes
from tfcompress.pipeline.notes import benchmark_notes


def test_notes_say_why_a_time_is_missing_or_none():
    sizes = {"threads": 1, "size_bytes": 1, "gzip_bytes": 1, "macs": None}
    soft = {"adapter": "Soft", "software": True, "latency_ms_p50": 1.0, "latency_runs": 1}
    notes = benchmark_notes(
        [
            FileBenchmark(path="o/baseline.tflite", backend="cpu", **sizes),
            FileBenchmark(path="o/both.tflite", backend="cpu", signature="xnor", **sizes),
            FileBenchmark(path="o/baseline.tflite", backend="gpu", **soft, **sizes),
            FileBenchmark(
                path="o/compressed.tflite",
                backend="gpu",
                outcome="mismatch",
                reason="the outputs differ",
                **sizes,
            ),
        ]
    )
    assert notes == [
        "compressed.tflite on gpu: mismatch: the outputs differ.",
        "both.tflite on cpu ran by its signature xnor.",
        "Soft is a software GPU: no performance number.",
    ]


@pytest.mark.parametrize(
    ("dot_product", "weights", "said"),
    [
        (False, "int8", "no 8-bit dot products"),
        (True, "int8", "dot products (VNNI)"),
        (False, "float32", ""),
        (None, "int8", ""),
    ],
)
def test_the_report_says_what_int8s_time_depends_on(monkeypatch, dot_product, weights, said):
    here = {"int8_dot_product": dot_product, "features": ["AVX2", *["VNNI"] * bool(dot_product)]}
    monkeypatch.setattr(notes, "machine", lambda: here)
    exported = types.SimpleNamespace(weight_bytes={weights: 9})
    network = types.SimpleNamespace(files=[types.SimpleNamespace(exported=exported)])
    lines = notes._machine_notes(network)
    assert len(lines) == bool(said)
    assert all(said in line for line in lines)
