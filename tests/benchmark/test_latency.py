import dataclasses

import numpy as np
import pytest

from tests.benchmark.machine import Machine, measure
from tfcompress.benchmark import latency as module
from tfcompress.benchmark import process
from tfcompress.benchmark.latency import Latency, latency, ratios, statistics
from tfcompress.errors import InputError


def test_statistics_by_hand():
    # 1 to 100 ms, in rounds of five
    times = [[(5 * block + place + 1) * 1_000_000 for place in range(5)] for block in range(20)]
    found = statistics(times)
    assert found["latency_runs"] == 100
    assert found["latency_ms_p50"] == pytest.approx(50.5)
    assert found["latency_ms_p90"] == pytest.approx(90.1)
    assert found["latency_ms_p99"] == pytest.approx(99.01)
    assert found["latency_ms_p5"] == pytest.approx(5.95)
    assert found["latency_ms_p95"] == pytest.approx(95.05)
    assert (found["latency_ms_min"], found["latency_ms_max"]) == (1, 100)
    assert found["latency_ms_mean"] == pytest.approx(50.5)
    assert found["latency_ms_std"] == pytest.approx(np.sqrt(100 * 101 / 12))


def test_what_too_few_runs_do_not_show_is_none():
    one = statistics([[2_000_000]])
    assert one["latency_ms_p50"] == one["latency_ms_mean"] == 2.0
    assert one["latency_ms_p90"] is one["latency_ms_p99"] is one["latency_ms_std"] is None
    ten = statistics([[1_000_000]] * 10)
    assert ten["latency_ms_p90"] == 1.0
    assert ten["latency_ms_p99"] is ten["latency_ms_p5"] is ten["latency_ms_p95"] is None


def test_ratio_is_the_median_of_the_rounds_ratios():
    # The machine slows down tenfold on the way: the quotient of the medians would be 5.
    first = [[100, 100], [100, 100], [1000, 1000]]
    second = [[50, 50], [500, 500], [500, 500]]
    rounds = [[a, b] for a, b in zip(first, second, strict=True)]
    assert ratios(rounds, 0) == {"ratio": 1.0, "ratio_p10": None, "ratio_p90": None}
    assert ratios(rounds, 1)["ratio"] == 0.5


def test_ratio_takes_each_rounds_median():
    # One disturbed run in a block doesn't move its round.
    rounds = [[[10, 10, 10], [20, 20, 9000]] for _ in range(10)]
    assert ratios(rounds, 1) == {"ratio": 2.0, "ratio_p10": 2.0, "ratio_p90": 2.0}


def test_ratio_spread():
    rounds = [[[100], [100 + percent]] for percent in range(11)]
    found = ratios(rounds, 1)
    assert found["ratio"] == pytest.approx(1.05)
    assert found["ratio_p10"] == pytest.approx(1.01)
    assert found["ratio_p90"] == pytest.approx(1.09)


def test_a_clock_that_stands_still_gives_finite_ratios():
    assert np.isfinite(ratios([[[0], [5]]], 1)["ratio"])


@pytest.mark.parametrize("backend", ["cpu", "cpu-noxnn"])
def test_real_files(tiny_file, backend):
    found = latency([tiny_file, tiny_file], backend=backend, runs=40, min_seconds=0)
    assert [item.path for item in found] == [str(tiny_file)] * 2
    assert found[0].ratio == 1.0
    for item in found:
        assert item.backend == backend
        assert item.latency_runs >= 40
        assert item.latency_runs % item.block_runs == 0
        values = dataclasses.asdict(item)
        for key in ("load_ms", "first_ms", "warmup_ms", "latency_ms_p50", "ratio"):
            assert values[key] > 0
        assert item.latency_ms_min <= item.latency_ms_mean <= item.latency_ms_max
        assert item.warmup_runs >= 3
        assert item.latency_ms_p50 <= item.latency_ms_p90
        assert item.latency_ms_p99 is None
        assert item.ratio_p10 <= item.ratio <= item.ratio_p90
    assert found[0].latency_runs == found[1].latency_runs


def test_every_number_of_files_whose_times_are_known(monkeypatch):
    machine = Machine(
        run_ns={"/a": 20_000_000, "/b": 30_000_000},
        load_ns={"/a": 7_000_000, "/b": 9_000_000},
        first_ns={"/a": 1_000_000, "/b": 2_000_000},
    )
    monkeypatch.setattr(
        process,
        "ask",
        lambda request, *, timeout_s: measure(
            monkeypatch, machine, runs=request["runs"], min_seconds=request["min_seconds"]
        ),
    )
    first, second = latency(["/a", "/b"], runs=100, min_seconds=0)
    assert first == Latency(
        path="/a",
        backend="cpu",
        threads=1,
        load_ms=7.0,
        first_ms=21.0,
        warmup_ms=pytest.approx((5 * 20 + 1) / 5),
        warmup_runs=5,
        latency_ms_p50=20.0,
        latency_ms_p90=20.0,
        latency_ms_p99=20.0,
        latency_ms_p5=20.0,
        latency_ms_p95=20.0,
        latency_ms_min=20.0,
        latency_ms_max=20.0,
        latency_ms_mean=20.0,
        latency_ms_std=0.0,
        latency_runs=100,
        block_runs=1,
        ratio=1.0,
        ratio_p10=1.0,
        ratio_p90=1.0,
    )
    assert (second.load_ms, second.first_ms, second.latency_ms_p50) == (9.0, 32.0, 30.0)
    assert (second.ratio, second.ratio_p10, second.ratio_p90) == (1.5, 1.5, 1.5)


def test_max_seconds_ends_the_rounds(tiny_file):
    found = latency([tiny_file], runs=1_000_000, min_seconds=0, max_seconds=0.05)
    assert 1 <= found[0].latency_runs < 1_000_000


def test_runtime_error_names_the_file(tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100)
    with pytest.raises(process.BenchmarkError, match=r"bad\.tflite \(at load\): ValueError"):
        latency([path])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "cpus"}, "backend must be one of cpu, cpu-noxnn, gpu, .*; got 'cpus'"),
        ({"threads": 0}, "threads must be 1 or more; got 0"),
        ({"runs": 0}, "runs must be 1 or more; got 0"),
        ({"min_seconds": -1}, "min_seconds must be 0 or more"),
        ({"max_seconds": 0}, "max_seconds must be positive"),
    ],
)
def test_bad_arguments(monkeypatch, arguments, message):
    monkeypatch.setattr(module.process, "ask", lambda *_, **__: pytest.fail("asked a process"))
    with pytest.raises(InputError, match=message):
        latency(["m.tflite"], **arguments)


def test_no_files():
    with pytest.raises(InputError, match="at least one"):
        latency([])
