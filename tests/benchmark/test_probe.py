"""The first run of a file on a backend, with answers that tests set."""

import base64

import numpy as np
import pytest

from tests.benchmark.flat import chain
from tfcompress.benchmark import matmul, process
from tfcompress.benchmark.backends import parse
from tfcompress.benchmark.parity import INTEGER_TOLERANCE, TOLERANCES
from tfcompress.benchmark.probe import References, probe
from tfcompress.tflite.content import read

RIGHT = np.array([3.0, 4.0], np.float64)  # Their rms is 5 divided by the root of 2.
GPU_LOG = "Selected adapter: NVIDIA H200, adapterType=Discrete GPU\n"


@pytest.fixture
def files(tmp_path):
    """A file of floats and one of integers."""
    integers = tmp_path / "int8.tflite"
    integers.write_bytes(matmul.matmul_file("int8", 2))
    return {
        "float": read(chain(tmp_path / "float.tflite", "NEG")),
        "integer": read(integers),
    }


def output(values):
    return {
        "place": 1,
        "dtype": "float64",
        "shape": [len(values)],
        "data": base64.b64encode(values.tobytes()).decode(),
        "quantization": None,
    }


@pytest.fixture
def tried(files, monkeypatch, tmp_path):
    """Returns what comes of outputs that are off by a share of their rms."""
    library = tmp_path / "libx.so"
    library.touch()

    def run(kind, backend, share):
        def ask(request, *, timeout_s):
            if request["task"] == "taken":
                return {"taken_ops": request["file_ops"]}, ""
            on_cpu = request["backend"]["kind"] == "cpu-noxnn"
            values = RIGHT if on_cpu else RIGHT * (1 + share)
            answer = {"peak_memory_bytes": 1, "signature": None, "because": "", "slow": ""}
            return {**answer, "outputs": [output(values)]}, GPU_LOG

        monkeypatch.setattr(process, "ask_with_log", ask)
        name = backend.replace("LIBRARY", str(library))
        return probe(files[kind], parse(name), References(1.0), threads=1, timeout_s=1.0)

    return run


@pytest.mark.parametrize(
    ("kind", "backend", "tolerance"),
    [
        ("float", "gpu", 0.02),  # It may compute in half precision.
        ("float", "gpu+cpu", 0.02),
        ("float", "gpu?precision=fp32", 0.001),
        ("float", "delegate:LIBRARY", 0.001),
        # The CPU rounds to integers after each op, and a GPU doesn't.
        ("integer", "gpu", 0.1),
        ("integer", "gpu?precision=fp32", 0.1),
        ("integer", "delegate:LIBRARY", 0.1),
    ],
)
def test_outputs_just_near_enough_and_just_too_far(tried, kind, backend, tolerance):
    near, far = (tried(kind, backend, factor * tolerance) for factor in (0.98, 1.02))
    assert (near.outcome, far.outcome) == ("ok", "mismatch")
    assert near.parity.relative_rms == pytest.approx(0.98 * tolerance)
    assert near.parity.max_abs == pytest.approx(4 * 0.98 * tolerance)
    assert far.reason == (
        f"the outputs differ from the CPU's by {102 * tolerance:.3g}% of their rms; "
        f"{100 * tolerance:g}% would do"
    )


def test_tolerances():
    """What a user's GPU may be off by; a change of these is a decision, and stands in the docs."""
    assert TOLERANCES == {"fp32": 1e-3, "fp16": 2e-2}
    assert INTEGER_TOLERANCE == 0.1


def test_the_reference_is_computed_once_a_file(tried, files, monkeypatch):
    references = References(1.0)
    tried("float", "gpu", 0.0)  # Leaves its answers in place.
    for _ in range(2):
        assert references.outputs("x.tflite") == [output(RIGHT)]
    monkeypatch.setattr(process, "ask_with_log", lambda *_, **__: pytest.fail("asked again"))
    assert references.outputs("x.tflite") == [output(RIGHT)]
