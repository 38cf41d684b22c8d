"""Fixtures that tests of several rooms share."""

import gc
import os

import numpy as np
import pytest
from PIL import Image

from tfcompress.allocator import keep_freed_memory

CLASSES = ("cross", "stripe")
# How the reasons begin for which a test may be skipped on a CI machine: it lacks programs and data
# that `make test` doesn't install. Any other skip there fails the run, because a test that quietly
# stopped running looks like one that passes.
EXPECTED_SKIPS = (
    "CIFAR-10 isn't prepared here",
    "MLPerf Tiny's files aren't here",
    "MNIST isn't prepared here",
    "TFCOMPRESS_LCE_PYTHON isn't set",
    "all tests skipped by +SKIP option",
    "no clang, which has the fuzzer",
    "no compiler for other systems",
    "no qemu to run what is compiled for aarch64",
    "there is no Chromium",
    "there is no SwiftShader",
)
# The same in a process that runs on JAX: tests/layers/test_backends.py starts one.
EXPECTED_SKIPS_ON_JAX = (
    "an export takes TensorFlow",
    "compares with TensorFlow's op",
    "export takes TensorFlow",
    "one backend is enough for loading files",
    "this process runs on JAX",
)


def pytest_configure(config):
    """Looks for garbage less often, and leaves memory to the process.

    Importing and tracing make many objects and little garbage; small trainings allocate a lot.
    Objects aren't frozen here: each export sets aside what is older than it, unless the program has
    frozen some.
    """
    gc.set_threshold(50_000, 20, 20)
    keep_freed_memory()


def unexpected_skips(config) -> list[str]:
    """Returns a line for each skipped test whose reason isn't an expected one, if this is CI.

    Only the process that reports has them all; the workers of pytest-xdist return none.
    """
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return []
    expected = EXPECTED_SKIPS
    if os.environ.get("KERAS_BACKEND") == "jax":
        expected += EXPECTED_SKIPS_ON_JAX
    lines = []
    for report in reporter.stats.get("skipped", ()):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(expected):
            lines.append(f"unexpected skip: {report.nodeid}: {reason}")
    return lines


def pytest_sessionfinish(session):
    """Fails a run on CI in which a test was skipped that should have run."""
    passed = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if session.exitstatus in passed and unexpected_skips(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter, config):
    """Names the tests that should have run on CI."""
    for line in unexpected_skips(config):
        terminalreporter.write_line(line, red=True)


def draw(kind: str, rng: np.random.Generator) -> np.ndarray:
    """A 16x16 picture that a small net can learn: a cross or a stripe on noise."""
    picture = rng.integers(0, 80, (16, 16, 3), dtype=np.uint8)
    at = int(rng.integers(5, 11))
    picture[at - 1 : at + 1] = 220
    if kind == "cross":
        picture[:, at - 1 : at + 1] = 220
    return picture


@pytest.fixture(scope="session")
def picture_folder(tmp_path_factory):
    """train/ and test/ with two classes, 32 and 8 pictures each."""
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for split, count in (("train", 32), ("test", 8)):
        for kind in CLASSES:
            folder = root / split / kind
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(draw(kind, rng)).save(folder / f"{number}.png")
    return root
