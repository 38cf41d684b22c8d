"""The control of a technique: the same layers, trained from scratch."""

import re

import pytest

from tests.pipeline.test_stages import config
from tfcompress.pipeline import stages
from tfcompress.pipeline.dry_run import dry_run
from tfcompress.pipeline.exporting import output_names
from tfcompress.pipeline.plan import plan

OPTIONS = {"width": "0.25", "control": "True", "repair": "mean"}


@pytest.fixture
def job(picture_folder, tmp_path):
    return plan(
        config(
            picture_folder,
            tmp_path / "out",
            technique="channels",
            options=OPTIONS,
            storage=None,
            epochs=1,
            benchmark=("none",),
        )
    )


@pytest.mark.slow
def test_the_report_says_what_the_file_of_the_network_from_scratch_is_worth(job):
    result = stages.run(job)
    names = [step["name"] for step in result.milestones]
    assert names == [
        "baseline",
        "channels cut out, not repaired",
        "repaired, not trained",
        "compressed, trained",
        "control: the same widths from scratch, 2 epochs, by control.tflite",
    ]
    assert all(0 <= step["value"] <= 1 for step in result.milestones)
    sizes = [
        (job.output_dir / f"{name}.tflite").stat().st_size for name in ("compressed", "control")
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.02)
    written = {path.name for path in job.output_dir.iterdir() if path.suffix == ".tflite"}
    assert written == {"baseline.tflite", "compressed.tflite", "control.tflite"}
    assert written < {*output_names(job)}


@pytest.mark.slow
def test_a_dry_run_names_its_training(job):
    assert re.search(r"baseline 1 epochs, channels 1 epochs, control 2 epochs", dry_run(job))
