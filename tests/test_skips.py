"""A test that is skipped for a reason nobody expects fails the run on CI."""

import os
import pathlib
import subprocess
import sys

import pytest

from tests import conftest

ROOT = pathlib.Path(__file__).parents[1]


SKIPPED = """import pytest

@pytest.mark.skipif(True, reason="JAX isn't installed")
def test_marked():
    pass

def test_inside():
    pytest.skip("no C compiler here")

def test_that_runs():
    pass
"""
SKIPPED_MODULE = """import pytest
pytest.importorskip("no_such_package")
"""
LINES = (
    "unexpected skip: test_one.py::test_marked: JAX isn't installed",
    "unexpected skip: test_one.py::test_inside: no C compiler here",
    "unexpected skip: test_two.py: could not import 'no_such_package'",
)


def run(folder, text, *words, other=None, **environment):
    """Exit status and output of pytest on one or two files, with tests/conftest.py."""
    (folder / "test_one.py").write_text(text)
    if other is not None:
        (folder / "test_two.py").write_text(other)
    variables = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(folder), *words, str(folder)],
        cwd=folder,
        env={**variables, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", [(), ("-n", "2", "--dist=loadfile")], ids=["alone", "workers"])
def test_unexpected_skips_fail_on_ci(tmp_path, words):
    status, output = run(tmp_path, SKIPPED, *words, other=SKIPPED_MODULE, CI="true")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert [output.count(line) for line in LINES] == [1, 1, 1]


def test_elsewhere_they_pass(tmp_path):
    status, output = run(tmp_path, SKIPPED, other=SKIPPED_MODULE)
    assert status == pytest.ExitCode.OK
    assert "unexpected skip" not in output


@pytest.mark.parametrize(
    ("backend", "wrong"), [("jax", 0), ("tensorflow", len(conftest.EXPECTED_SKIPS_ON_JAX))]
)
def test_expected_skips_pass_on_ci(tmp_path, backend, wrong):
    reasons = conftest.EXPECTED_SKIPS + conftest.EXPECTED_SKIPS_ON_JAX
    tests = [
        f"def test_{number}():\n    pytest.skip({reason!r})\n"
        for number, reason in enumerate(reasons)
    ]
    text = "\n".join(["import pytest\n", *tests])
    status, output = run(tmp_path, text, CI="true", KERAS_BACKEND=backend)
    assert status == (pytest.ExitCode.TESTS_FAILED if wrong else pytest.ExitCode.OK)
    assert f"{len(reasons)} skipped" in output
    assert output.count("unexpected skip: ") == wrong


def test_a_module_without_tests_fails_too(tmp_path):
    """Which pytest would end with another status."""
    assert run(tmp_path, SKIPPED_MODULE, CI="true")[0] == pytest.ExitCode.TESTS_FAILED
    assert run(tmp_path, "", CI="true")[0] == pytest.ExitCode.NO_TESTS_COLLECTED


def test_each_expected_reason_is_some_tests_own():
    """Else it would stay in the list when its test is gone."""
    folders = ("tests/**/*.py", "tfcompress/kernels/*.py")
    own = (ROOT / "tests/conftest.py", pathlib.Path(__file__))
    sources = [path for folder in folders for path in ROOT.glob(folder) if path not in own]
    texts = "".join(path.read_text() for path in sources)
    reasons = {*conftest.EXPECTED_SKIPS, *conftest.EXPECTED_SKIPS_ON_JAX}
    # The words of pytest itself, and a name that stands in a constant.
    reasons -= {"all tests skipped by +SKIP option", "TFCOMPRESS_LCE_PYTHON isn't set"}
    assert [reason for reason in sorted(reasons) if reason not in texts] == []
