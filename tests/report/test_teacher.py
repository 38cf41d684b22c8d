"""What a report says of the teacher, the unlabelled examples and the differences by chance."""

import dataclasses
import json

import pytest

from tests.report.conftest import BASELINE, COMPRESSED
from tfcompress.errors import InputError
from tfcompress.report import RunResult
from tfcompress.report.write import html, markdown


@pytest.fixture
def distilled(run):
    test = {"gained": 31, "lost": 44, "p_value": 0.1654}
    file = dataclasses.replace(
        COMPRESSED, teacher_agreement=0.951, against_baseline=test, against_control=test
    )
    before = dataclasses.replace(BASELINE, teacher_agreement=1.0)
    return dataclasses.replace(
        run(files=[file]),
        baseline=before,
        teacher={"name": "/home/me/big.keras,baseline", "accuracy": 0.9203},
        transfer={"name": "folder:/home/me/loose", "examples": 13813},
    )


def test_pages_name_teacher_and_transfer_set(distilled):
    for page in (markdown(distilled, []), html(distilled, [])):
        text = page.replace("&#39;", "'").replace("&#x27;", "'")
        assert "0.9203" in text
        assert "13,813 images without labels" in text
        assert "labels as the teacher's" in text
        assert "0.9510" in text
        assert (
            "compressed.tflite is right where the control is wrong on 31 test images, and wrong "
            "where it is right on 44: p = 0.17 by McNemar's exact test." in text
        )


def test_json_has_them_and_is_read_back(distilled):
    values = json.loads(json.dumps(distilled.to_json()))
    assert values["teacher"] == {"name": "/home/me/big.keras,baseline", "accuracy": 0.9203}
    assert values["compressed"]["teacher_agreement"] == 0.951
    assert values["files"]["int8"]["against_control"]["lost"] == 44
    assert RunResult.from_json(values).to_json() == values
    del values["files"]["int8"]["against_control"]["lost"]
    with pytest.raises(InputError, match=r"against_control\.lost is missing"):
        RunResult.from_json(values)


def test_a_run_that_only_labels_taught_has_neither(run):
    values = run().to_json()
    assert values["teacher"] is values["transfer"] is None
    assert "teacher_agreement" not in values["compressed"]
    assert "teacher" not in markdown(run(), [])
