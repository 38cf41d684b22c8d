"""A made-up run whose numbers tests can change one by one."""

import dataclasses
from collections.abc import Callable

import pytest

from tfcompress.report import plots
from tfcompress.report.picture import Picture
from tfcompress.report.result import FileResult, RunResult


def rows(start):
    return [
        {
            "epoch": epoch,
            "loss": start / epoch,
            "train_error": start / epoch,
            "test_error": start / epoch + 0.02,
            "step_ms": 12.5,
            "seconds": 3.0,
        }
        for epoch in (1, 2, 3)
    ]


BASELINE = FileResult(
    path="baseline.tflite",
    accuracy=0.9145,
    accuracy_keras=0.9145,
    keras_agreement=1.0,
    parameters=1000,
    macs=2_000_000,
    size_bytes=36_000,
    gzip_bytes=30_000,
    packed_bytes=28_672,
    latency_ms_p50=1.0,
    latency_ms_p90=1.2,
    latency_runs=200,
    peak_memory_bytes=60 << 20,
    train_step_ms=10.0,
    layers=[
        {"name": "conv_1", "kind": "Conv2D", "parameters": 200, "macs": 800_000, "bytes": 800},
        {"name": "conv_2", "kind": "Conv2D", "parameters": 800, "macs": 1_200_000, "bytes": 3200},
        {"name": "flat", "kind": "Flatten", "parameters": 0, "macs": 0, "bytes": 0},
    ],
    parity={"max_abs_diff": 1e-6, "ties": 0},
)
COMPRESSED = dataclasses.replace(
    BASELINE,
    path="compressed.tflite",
    accuracy=0.9085,
    accuracy_keras=0.909,
    keras_agreement=0.9995,
    size_bytes=10_000,
    gzip_bytes=6_000,
    packed_bytes=3_072,
    latency_ms_p50=0.5,
    latency_ms_p90=0.6,
    macs=1_000_000,
    storage="int8",
    latency_ratio=0.48,
    latency_ratio_p10=0.46,
    latency_ratio_p90=0.51,
    layers=[
        {"name": "conv_1", "kind": "Conv2D", "parameters": 200, "macs": 800_000, "bytes": 800},
        {"name": "bn_2", "kind": "BatchNormalization", "parameters": 16, "macs": 0, "bytes": 64},
        {
            "name": "conv_2",
            "kind": "BinaryConv2D",
            "parameters": 800,
            "macs": 200_000,
            "bytes": 400,
        },
        {"name": "shape", "bytes": 8},
    ],
    parity={"max_abs_diff": 2e-6, "ties": 1},
)
# The same network in a second storage, which needs kernels.
BITS = dataclasses.replace(
    COMPRESSED,
    path="compressed-xnor.tflite",
    storage="xnor",
    needs="1-bit kernels",
    size_bytes=2_000,
    latency_ms_p50=0.2,
    latency_ratio=0.2,
    latency_ratio_p10=0.19,
    latency_ratio_p90=0.21,
    layers=[{**row, "bytes": row["bytes"] // 8} for row in COMPRESSED.layers],
)
RUN = RunResult(
    technique="xnor",
    reference="Rastegari et al. 2016, arXiv:1603.05279",
    model="vgg_small",
    dataset="fashion_mnist_small",
    dataset_split="8,000 train, 2,000 test",
    test_images=2000,
    seed=3,
    command="python -m tfcompress.run --technique=xnor --seed=3",
    versions={"keras": "3.15.1"},
    machine={"cpu": "Some CPU", "cores": 2, "memory_bytes": 8 << 30},
    config={"epochs": 3},
    baseline=BASELINE,
    files=[COMPRESSED],
    layers=[
        {"name": "conv_1", "kind": "Conv2D", "action": "kept", "reason": "it reads the image"},
        {"name": "conv_2", "kind": "Conv2D", "action": "binarized", "reason": "3x3, 64 channels"},
    ],
    benchmarks=[
        {"profile": {"ops": [{"name": "CONV_2D", "ms": ms} for ms in times]}}
        for times in ((0.25, 0.5), (0.25, 0.125))
    ],
    histories={"baseline": rows(0.3), "compressed": rows(0.4)},
    notes=["One image is 0.05 points."],
    created="2025-11-20T10:00:00+00:00",
)


@pytest.fixture(scope="session")
def drawn() -> list[Picture]:
    """The pictures of the run as it is."""
    return plots.pictures(RUN)


@pytest.fixture
def run() -> Callable[..., RunResult]:
    """Makes the run with changed fields: `file_` begins a file's, `baseline_` the baseline's."""

    def make(**changes):
        def taken(prefix):
            names = [name for name in changes if name.startswith(prefix)]
            return {name.removeprefix(prefix): changes.pop(name) for name in names}

        baseline = dataclasses.replace(BASELINE, **taken("baseline_"))
        file = dataclasses.replace(COMPRESSED, **taken("file_"))
        return dataclasses.replace(RUN, **{"baseline": baseline, "files": [file], **changes})

    return make
