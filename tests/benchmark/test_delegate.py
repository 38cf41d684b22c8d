import pytest

from tests.benchmark.flat import chain
from tfcompress.benchmark import measure as function
from tfcompress.benchmark import process


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    return [
        chain(folder / "relu.tflite", "RELU"),
        chain(folder / "both.tflite", "NEG", "RELU"),
    ]


def measured(files, backend, **more):
    return function(files, backends=backend, runs=1, min_seconds=0, **{"timeout_s": 60, **more})


def test_taken_ops(files, stub_delegate):
    whole, half = measured(files, f"delegate:{stub_delegate}?ops=1")
    assert (whole.outcome, whole.accelerated_ops, whole.cpu_ops) == ("ok", 1, 0)
    assert (half.outcome, half.accelerated_ops, half.cpu_ops) == ("partial", 1, 1)
    assert half.reason == "the delegate took 1 of the file's 2 ops, the CPU has the rest"
    assert whole.timed
    assert half.timed
    assert whole.parity_relative_rms == 0
    assert half.ratio > 0


def test_a_delegates_own_op_has_nothing_to_be_compared_with(tmp_path, stub_delegate):
    own = chain(tmp_path / "own.tflite", "NEG", "CUSTOM")
    backends = [f"delegate:{stub_delegate}?ops=1", "cpu"]
    (found, cpu) = measured(own, backends)
    assert (found.outcome, found.timed, found.parity_relative_rms) == ("partial", True, None)
    assert found.reason.endswith("; no comparison: only the delegate knows its own ops")
    assert (cpu.outcome, cpu.timed) == ("unsupported", False)
    assert "custom op: Stub" in cpu.reason


def test_one_that_takes_nothing_is_said_so(files, stub_delegate):
    (found,) = measured(files[1], f"delegate:{stub_delegate}")
    assert (found.outcome, found.timed) == ("unsupported", False)
    assert found.reason == "the delegate took none of the file's 2 ops"


@pytest.mark.parametrize(
    ("options", "outcome", "reason"),
    [
        ("?fail=no%20chip%20here", "unsupported", "no chip here"),
        ("?ops=1&wrong=1", "mismatch", "the outputs differ from the CPU's by"),
        ("?ops=1&crash=1", "crashed", "killed by SIGABRT"),
    ],
)
def test_failures(files, stub_delegate, options, outcome, reason):
    (found,) = measured(files[0], f"delegate:{stub_delegate}{options}")
    assert (found.outcome, found.timed) == (outcome, False)
    assert reason in found.reason


def test_one_that_hangs_leaves_the_others_their_results(files, stub_delegate, monkeypatch):
    honest = process.ask_aloud

    def impatient(request, *, timeout_s):
        hangs = "hang" in request.get("backend", {}).get("options", {})
        return honest(request, timeout_s=2 if hangs else timeout_s)

    monkeypatch.setattr(process, "ask_aloud", impatient)
    hung, well = measured(files[0], [f"delegate:{stub_delegate}?ops=1&hang=1", "cpu"])
    assert (hung.outcome, hung.timed) == ("timeout", False)
    assert hung.reason == "not done after 2 s"
    assert (well.outcome, well.timed) == ("ok", True)


def test_no_library(files):
    (found,) = measured(files[0], "delegate:libnothing.so")
    assert found.outcome == "unsupported"
    assert "libnothing.so: cannot open shared object" in found.reason
