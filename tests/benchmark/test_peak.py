import dataclasses

import numpy as np

from tests.benchmark.flat import grouped
from tfcompress.benchmark import peak, process
from tfcompress.benchmark.matmul import matmul_file
from tfcompress.benchmark.process import BenchmarkError
from tfcompress.runtime import LiteModel
from tfcompress.runtime.process import ProcessError
from tfcompress.tflite.content import read


def test_the_product_is_one(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(matmul_file("float32", 16, seed=3))
    weights = np.random.default_rng(3).standard_normal((16, 16)).astype(np.float32)
    x = np.random.default_rng(4).standard_normal((16, 16)).astype(np.float32)
    np.testing.assert_allclose(LiteModel(path).predict(x), x @ weights.T, atol=1e-5)
    content = read(path)
    assert content.macs == 16**3
    assert peak.main_dtype(content) == "float32"


def test_integers_use_their_range(tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(matmul_file("int8", 32))
    x = np.random.default_rng(4).normal(size=(32, 32)) * 1.3
    outputs = LiteModel(path).predict(x)
    assert len(np.unique(outputs)) > 100
    content = read(path)
    assert peak.main_dtype(content) == "int8"
    # Floats in and out, and 8 bits between: "dynamic range".
    ops = [
        dataclasses.replace(
            op,
            inputs=(dataclasses.replace(op.inputs[0], dtype="float32"), *op.inputs[1:]),
            outputs=tuple(dataclasses.replace(output, dtype="float32") for output in op.outputs),
        )
        for op in content.ops
    ]
    assert peak.main_dtype(dataclasses.replace(content, ops=tuple(ops))) == "int8"


def test_speeds():
    found = peak.peaks_gmacs_per_s(["float32", "int8"], 1)
    assert set(found) == {"float32", "int8"}
    assert min(found.values()) > 0.01


def test_without_a_process_there_is_none(monkeypatch, tmp_path):
    def fail(request, *, timeout_s):
        raise BenchmarkError(ProcessError({}, "crashed", request), [])

    monkeypatch.setattr(process, "ask", fail)
    assert peak.peaks_gmacs_per_s(["float32"], 1) == {}
    assert peak.main_dtype(read(grouped(tmp_path / "m.tflite", 4))) == "float32"
