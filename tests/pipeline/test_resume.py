"""Killed at random moments, a run ends in the weights of the undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tfcompress import models


def command(folder, output):
    return [
        sys.executable, "-m", "tfcompress.run", f"--dataset=folder:{folder}", "--image_size=16",
        "--epochs=12", "--batch_size=4", "--set", "width=0.25", "--benchmark=none",
        f"--output_dir={output}",
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_three_times(picture_folder, tmp_path):
    started = time.monotonic()
    subprocess.run(command(picture_folder, tmp_path / "whole"), check=True)
    seconds = time.monotonic() - started
    rng = random.Random(os.environ.get("TFCOMPRESS_KILL_SEED", 0))
    for _ in range(3):
        child = subprocess.Popen(command(picture_folder, tmp_path / "killed"))
        time.sleep(rng.uniform(0.3, 0.9) * seconds)
        child.send_signal(signal.SIGKILL)
        child.wait()
    subprocess.run(command(picture_folder, tmp_path / "killed"), check=True)
    for name in ("baseline.keras", "compressed.keras"):
        whole, killed = (
            models.load(str(tmp_path / run / name)).get_weights() for run in ("whole", "killed")
        )
        for one, other in zip(whole, killed, strict=True):
            np.testing.assert_array_equal(one, other)
    assert not list((tmp_path / "killed").glob(".*"))
