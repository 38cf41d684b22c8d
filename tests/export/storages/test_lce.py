"""Files of larq-compute-engine's ops; those that need it run where it is named."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.export.conftest import binary_net, real_images
from tfcompress.errors import InputError
from tfcompress.export import export
from tfcompress.export.storages import _lce_child as lce_child
from tfcompress.export.storages import lce
from tfcompress.runtime import child
from tfcompress.tflite import compatibility
from tfcompress.tflite.content import read
from tfcompress.training import logits

# What the contract holds the storage to.
LIMITS = {"usual": (0.1, 0.98, 0.01), "binary": (0.1, 0.98, 0.01)}


def test_says_what_to_install(net, monkeypatch, tmp_path):
    monkeypatch.delenv(lce.PYTHON, raising=False)
    with pytest.raises(InputError, match=r"pip install 'larq-compute-engine==0\.16\.\*' 'numpy<2'"):
        export(net, tmp_path / "m.tflite", storage="lce")
    assert not list(tmp_path.iterdir())


def test_a_python_without_it(monkeypatch):
    monkeypatch.setenv(lce.PYTHON, sys.executable)
    with pytest.raises(
        InputError, match=rf"{lce.PYTHON}=.* can't run larq-compute-engine \(PackageNotFoundError"
    ):
        lce.python()


def test_its_process_needs_nothing_of_ours_and_nothing_installed():
    """Its Python has neither tfcompress nor our requirements."""
    script = f"import runpy; runpy.run_path({lce_child.__file__!r}, run_name='other')"
    beside = f"runpy.run_path({child.__file__!r}, run_name='other')"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{script}; {beside}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_no_such_python(monkeypatch, tmp_path):
    monkeypatch.setenv(lce.PYTHON, str(tmp_path / "python"))
    with pytest.raises(InputError, match=r"can't start a larq-compute-engine process"):
        lce.python()


needs_lce = pytest.mark.skipif(not os.environ.get(lce.PYTHON), reason=f"{lce.PYTHON} isn't set")


@needs_lce
def test_a_file_for_its_runtime(net, tmp_path):
    images = real_images(50)
    written = export(net, tmp_path / "m.tflite", storage="lce", representative=images)
    assert written.ops["CUSTOM:LceBconv2d"] == 3
    assert list(written.kept) == ["hidden"]
    assert written.weight_bytes["int32"] < 4 * (3 * 3 * 12 + 6 * 12 + 9 * 8) + 100
    assert written.min_runtime == lce.RUNTIME
    assert written.parity.agreement == 1
    expected = logits(net, images)
    run = lce.run(tmp_path / "m.tflite", images)
    assert np.abs(run.outputs - expected).max() <= 1e-5 * np.abs(expected).max()
    assert run.cost.load_ms > 0
    issues = [str(issue) for issue in compatibility.never(read(written.path))]
    assert all("needs larq-compute-engine's runtime" in issue for issue in issues)


@needs_lce
def test_a_net_without_binary_inputs(tmp_path):
    with pytest.raises(InputError, match=r"no convolution .* with binary inputs and weights"):
        export(binary_net(inputs=False), tmp_path / "m.tflite", storage="lce")
    assert not list(tmp_path.iterdir())
