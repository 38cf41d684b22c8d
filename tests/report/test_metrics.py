"""A run that is judged by an error: lower is better, and changes are told in percent."""

import dataclasses
import json

import pytest

from tests.report.conftest import BITS, COMPRESSED, RUN
from tfcompress.errors import InputError
from tfcompress.metric import Metric
from tfcompress.report import compared, plots
from tfcompress.report.headline import headline
from tfcompress.report.result import RunResult
from tfcompress.report.table import comparison
from tfcompress.report.write import markdown

MAE = Metric(name="mae", higher_is_better=False, share=False)


def judged(file, value, keras_value, **changes):
    return dataclasses.replace(
        file,
        metric=MAE,
        accuracy=value,
        accuracy_keras=keras_value,
        keras_agreement=None,
        metrics={"loss": 2 * value, "mae": value},
        parity={**file.parity, "relative_rms": 0.012},
        **changes,
    )


def epochs(start):
    return [
        {"epoch": epoch, "loss": start, "train_mae": start / epoch, "test_mae": start / epoch + 1}
        for epoch in (1, 2)
    ]


ERRORS = dataclasses.replace(
    RUN,
    baseline=judged(RUN.baseline, 12.5, 12.5),
    files=[
        judged(COMPRESSED, 13.0, 12.5, metric_interval_percent=(1.5, 6.5)),
        judged(BITS, 12.5, 12.5),
    ],
    histories={"baseline": epochs(20), "compressed": epochs(14)},
    examples="examples",
)
ONE = dataclasses.replace(ERRORS, files=ERRORS.files[:1])


@pytest.mark.parametrize("result", [ERRORS, ONE, RUN])
def test_read_back_as_it_was(result):
    values = json.loads(json.dumps(result.to_json()))
    again = RunResult.from_json(values)
    assert again.to_json() == values
    assert again.metric == result.metric


def test_keys_say_what_stands_under_accuracy():
    values = ERRORS.to_json()
    assert values["metric"] == "mae"
    assert values["metric_higher_is_better"] is values["metric_is_share"] is False
    assert values["compressed"]["accuracy"] == 13.0
    assert values["accuracy_change_points"] is None
    assert values["metric_change_percent"] == 4.0
    assert values["files"]["int8"]["metrics"] == {"loss": 26.0, "mae": 13.0}
    assert values["files"]["int8"]["metric_interval_percent"] == [1.5, 6.5]
    assert RUN.to_json()["metric"] == "accuracy"
    assert "metric_change_percent" not in RUN.to_json()


def test_values_that_no_metric_can_have():
    with pytest.raises(InputError, match="accuracy must be finite; got inf"):
        judged(COMPRESSED, float("inf"), 1.0)


def test_the_headline_says_which_way_is_worse():
    assert headline(ONE) == (
        "The xnor file is 3.6 times smaller and 2.1 times faster than the baseline, and its mae is "
        "4.0% higher, which is worse (12.5 -> 13 on 2,000 test examples; 95% interval +1.5 to "
        "+6.5%)."
    )
    assert "and kept its mae (12.5 -> 12.5" in headline(ERRORS)
    auc = dataclasses.replace(
        RUN, **{"baseline": dataclasses.replace(RUN.baseline, metric=Metric(name="auc"))}
    )
    assert "lost 0.6 points of auc (0.9145 -> 0.9085" in headline(auc)


def test_the_table_lists_every_metric():
    rows = {row.label: (row.baseline, *row.cells) for row in comparison(ONE)}
    baseline, cell = rows["mae of the file"]
    assert (baseline, cell.value, cell.change) == ("12.5", "13", "+4.00%")
    baseline, cell = rows["loss of the file"]
    assert (baseline, cell.value, cell.change) == ("25", "26", "+1")
    assert rows["differs from Keras, rms"][1].value == "1.2%"
    assert not any("labels" in label or "accuracy" in label for label in rows)


def test_pages_and_pictures_are_of_the_metric():
    curves, bars, costs, _ = plots.pictures(ERRORS)
    assert curves.alt.startswith("mae by epoch. baseline, test: 11 at the end.")
    assert "mae: 12.5 and 13 and 12.5." in bars.alt
    # The cheapest file is also the best one.
    assert "file size, KiB: on the front, from the cheapest, xnor (1.953, 12.5)." in costs.alt
    text = markdown(ERRORS, [curves, bars, costs])
    assert "The mae is that of the .tflite file" in text
    assert "accuracy" not in text.replace("accuracy_", "")


def test_runs_with_other_metrics_share_a_table():
    lines = compared.lines([("a", RUN), ("b", ONE)], "accuracy")
    assert [(line.metric.name, line.accuracy) for line in lines] == [
        ("mae", 12.5), ("mae", 13.0), ("accuracy", 0.9145), ("accuracy", 0.9085)
    ]  # fmt: skip
    header = compared.comma_separated(lines).splitlines()[0]
    assert "metric,accuracy" in header
    assert "accuracy_change_points,metric_change_percent" in header
    assert "better by mae than 2 xnor (13), 1 baseline (12.5)" in compared.headline(lines)
    assert "more accurate than 4 xnor (90.85%)" in compared.headline(lines)
