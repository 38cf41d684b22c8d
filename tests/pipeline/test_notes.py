from tfcompress.benchmark import FileBenchmark
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
