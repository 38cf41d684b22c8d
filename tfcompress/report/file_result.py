"""Holds what is known of one of a run's files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from tfcompress.errors import require
from tfcompress.metric import ACCURACY, Metric
from tfcompress.report import shapes
from tfcompress.report.strict_json import strict

# Times in milliseconds and their ratios lie between these, or no picture could show them.
_LEAST, _MOST = 1e-12, 1e12
# Left out where there is nothing.
_IF_GIVEN = frozenset(
    {
        "metrics",
        "metric_interval_percent",
        "teacher_agreement",
        "teacher_relative_rms",
        "against_baseline",
        "against_control",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileResult:
    """One `.tflite` file: how well it does and what it costs. None stands for what wasn't measured.

    Attributes:
        path: the file, relative to the report where possible.
        accuracy: the file's own accuracy on the whole test set, 0 to 1; of a run that is judged by
            another metric, that.
        accuracy_keras: the Keras model's on the same images.
        keras_agreement: the share of these images to which the file gives the Keras model's label.
        parameters: of the Keras model, counted.
        teacher_agreement: the share of the test examples to which the file gives the teacher's
            label; None where nobody taught, or there are no labels.
        teacher_relative_rms: where there are no labels, the rms of the differences of the outputs
            from the teacher's as a share of these, of the output where that is largest.
        against_baseline: McNemar's exact test of the file against the baseline: `gained`, the test
            examples that it alone classifies rightly, `lost`, those that the baseline alone does,
            and `p_value`. None of other metrics, whose interval tells as much.
        against_control: the same against the control's file; None without one.
        macs: multiply-accumulates of one inference, counted in the file.
        size_bytes: size of the file.
        gzip_bytes: size of the file after gzip at level 9.
        packed_bytes: size of the container `.tfz` beside it, which gives the file back bit by bit.
        latency_ms_p50: median time of an inference.
        latency_ms_p90: 90th percentile of it.
        latency_runs: number of inferences that were timed.
        peak_memory_bytes: peak of a process that loads the file and runs it once.
        train_step_ms: median time of a training step.
        storage: how the weights are stored, such as `float32`.
        needs: what a runtime must have beyond LiteRT's own ops, such as `1-bit kernels`; empty if
            nothing.
        failed_check: how the file differs from Keras by more than its storage allows, where it was
            written all the same; None if it passed.
        latency_ratio: latency divided by the baseline's, measured in turns with it.
        latency_ratio_p10: 10th percentile of that over the rounds.
        latency_ratio_p90: 90th percentile of it.
        accuracy_interval_points: bounds of the 95% interval of the accuracy's change, in
            percentage points; see `runtime.accuracy`.
        metric_interval_percent: the same of a metric that is no share, in percent of the
            baseline's value.
        metrics: all that the model is judged by, each output's, by Keras's names; empty if there
            is nothing but `accuracy`.
        metric: what stands under `accuracy`; in JSON it is the run's.
        layer_errors: for each layer of a file with rounded values, in the network's order,
            rms(output - output of the float file) / rms(output of the float file).
        layers: per layer `name`, `kind`, `parameters`, `macs` and the `bytes` of its constants in
            the file; where these were chosen by layer, `bits` of a weight and `microseconds` that
            it takes alone (None where price was bytes); see `layer_costs.per_layer`.
        parity: how far the file's outputs are from the Keras model's, such as
            `{"max_abs_diff": 1e-6, "ties": 0}`; in JSON each key begins with `parity_`.
    """

    path: str
    accuracy: float
    parameters: int
    size_bytes: int
    accuracy_keras: float | None = None
    keras_agreement: float | None = None
    teacher_agreement: float | None = None
    teacher_relative_rms: float | None = None
    against_baseline: Annotated[Mapping[str, Any] | None, shapes.PairedTest | None] = None
    against_control: Annotated[Mapping[str, Any] | None, shapes.PairedTest | None] = None
    macs: int | None = None
    gzip_bytes: int | None = None
    packed_bytes: int | None = None
    latency_ms_p50: float | None = None
    latency_ms_p90: float | None = None
    latency_runs: int | None = None
    peak_memory_bytes: int | None = None
    train_step_ms: float | None = None
    storage: str = "float32"
    needs: str = ""
    failed_check: str | None = None
    latency_ratio: float | None = None
    latency_ratio_p10: float | None = None
    latency_ratio_p90: float | None = None
    accuracy_interval_points: tuple[float, float] | None = None
    metric_interval_percent: tuple[float, float] | None = None
    metrics: Annotated[Mapping[str, float], Mapping[str, float | None]] = dataclasses.field(
        default_factory=dict
    )
    metric: Metric = ACCURACY
    layer_errors: Annotated[Mapping[str, float], Mapping[str, float | None]] = dataclasses.field(
        default_factory=dict
    )
    layers: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.LayerCost]] = ()
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses numbers that no file can have."""
        for field in ("accuracy", "accuracy_keras", "keras_agreement", "teacher_agreement"):
            value = getattr(self, field)
            share = self.metric.share or field.endswith("agreement")
            require(
                value is None or (0 <= value <= 1 if share else math.isfinite(value)),
                f"{field} must be {'in 0..1' if share else 'finite'}; got {value}",
            )
        require(self.size_bytes > 0, f"size_bytes must be positive; got {self.size_bytes}")
        for field in (
            "parameters",
            "macs",
            "gzip_bytes",
            "packed_bytes",
            "latency_runs",
            "peak_memory_bytes",
        ):
            value = getattr(self, field)
            require(value is None or value >= 0, f"{field} must be 0 or more; got {value}")
        for field in ("latency_ms_p50", "latency_ms_p90", "train_step_ms"):
            value = getattr(self, field)
            require(
                value is None or value == 0 or _LEAST < value < _MOST,
                f"{field} must be a time of 0 or more; got {value}",
            )
        for field in ("latency_ratio", "latency_ratio_p10", "latency_ratio_p90"):
            value = getattr(self, field)
            require(
                value is None or _LEAST < value < _MOST, f"{field} must be positive; got {value}"
            )

    @property
    def interval(self) -> tuple[float, float] | None:
        """Returns the bounds of the metric's change in its own unit; None if they aren't known."""
        return self.accuracy_interval_points or self.metric_interval_percent

    @property
    def worst_layers(self) -> list[tuple[str, float]]:
        """Returns the ten layers whose outputs rounding changed most, the worst first."""
        known = [(name, error) for name, error in self.layer_errors.items() if error is not None]
        return sorted(known, key=lambda item: -item[1])[:10]

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, those of `parity` with the prefix `parity_`."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("parity", "metric", *_IF_GIVEN)
            or (field.name in _IF_GIVEN and getattr(self, field.name) not in (None, {}))
        }
        values.setdefault("parity_max_abs_diff", None)
        values |= {f"parity_{key.removeprefix('parity_')}": v for key, v in self.parity.items()}
        return strict(values)

    @classmethod
    def from_json(
        cls, values: Mapping[str, Any], where: str = "", metric: Metric = ACCURACY
    ) -> FileResult:
        """Restores the result that `to_json` was called on.

        Args:
            values: what JSON gave.
            where: what error messages put before a field's name.
            metric: the run's.

        Raises:
            InputError: the values aren't a result's.
        """
        prefix = "parity_"
        parity = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        fields = shapes.read_fields(cls, values, where, but=("parity", "metric"))
        for name in ("accuracy_interval_points", "metric_interval_percent"):
            if fields.get(name) is not None:
                fields[name] = tuple(fields[name])
        return cls(**fields, parity=parity, metric=metric)
