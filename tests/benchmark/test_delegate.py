import pytest

from tests.benchmark.flat import chain
from tfcompress.benchmark import measure as function
from tfcompress.benchmark import process

# One call for all: the CPU's outputs are computed once.
OPTIONS = ("?ops=1", "", "?fail=no%20chip%20here", "?ops=1&wrong=1", "?ops=1&crash=1")


def measured(files, backends):
    return function(files, backends=backends, runs=1, min_seconds=0, timeout_s=60)


@pytest.fixture(scope="module")
def relu(tmp_path_factory):
    return chain(tmp_path_factory.mktemp("files") / "relu.tflite", "RELU")


@pytest.fixture(scope="module")
def found(relu, stub_delegate):
    """The results of one file by the delegate's options."""
    backends = [f"delegate:{stub_delegate}{options}" for options in OPTIONS]
    results = measured(relu, [*backends, "delegate:libnothing.so"])
    return dict(zip((*OPTIONS, "libnothing.so"), results, strict=True))


def test_all_ops_taken(found):
    whole = found["?ops=1"]
    assert (whole.outcome, whole.reason, whole.timed) == ("ok", "", True)
    assert (whole.accelerated_ops, whole.cpu_ops) == (1, 0)
    assert whole.parity_relative_rms == 0


@pytest.mark.parametrize(
    ("options", "outcome", "reason"),
    [
        ("", "unsupported", "the delegate took none of the file's 1 ops"),
        ("?fail=no%20chip%20here", "unsupported", "no chip here"),
        ("?ops=1&wrong=1", "mismatch", "the outputs differ from the CPU's by"),
        ("?ops=1&crash=1", "crashed", "killed by SIGABRT"),
        ("libnothing.so", "unsupported", "libnothing.so: cannot open shared object"),
    ],
)
def test_failures(found, options, outcome, reason):
    failed = found[options]
    assert (failed.outcome, failed.timed) == (outcome, False)
    assert reason in failed.reason


def test_some_ops_and_a_delegates_own(relu, tmp_path, stub_delegate):
    half = chain(tmp_path / "half.tflite", "NEG", "RELU")
    own = chain(tmp_path / "own.tflite", "NEG", "CUSTOM")
    some, one, cpu_some, cpu_one = measured([half, own], [f"delegate:{stub_delegate}?ops=1", "cpu"])
    assert (some.outcome, some.accelerated_ops, some.cpu_ops) == ("partial", 1, 1)
    assert some.reason == "the delegate took 1 of the file's 2 ops, the CPU has the rest"
    assert some.timed
    # What is right for an op of the delegate's own, no CPU can say.
    assert (one.outcome, one.timed, one.parity_relative_rms) == ("partial", True, None)
    assert one.reason.endswith("; no comparison: only the delegate knows its own ops")
    assert one.ratio > 0
    assert (cpu_some.outcome, cpu_one.outcome, cpu_one.timed) == ("ok", "unsupported", False)
    assert "custom op: Stub" in cpu_one.reason


def test_one_that_hangs_leaves_the_others_their_results(relu, stub_delegate, monkeypatch):
    honest = process.ask_with_log

    def impatient(request, *, timeout_s):
        hangs = "hang" in request.get("backend", {}).get("options", {})
        return honest(request, timeout_s=2 if hangs else timeout_s)

    monkeypatch.setattr(process, "ask_with_log", impatient)
    hung, well = measured(relu, [f"delegate:{stub_delegate}?ops=1&hang=1", "cpu"])
    assert (hung.outcome, hung.timed) == ("timeout", False)
    assert hung.reason == "not done after 2 s"
    assert (well.outcome, well.timed) == ("ok", True)
