"""Holds a run's result, and turns it into JSON that other programs rely on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tfcompress.errors import require

HISTORIES = ("baseline", "compressed")
# The version of report.json, raised when a key that others rely on changes its meaning or goes.
SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileResult:
    """One `.tflite` file: how well it does and what it costs. None stands for what wasn't measured.

    Attributes:
        path: the file, relative to the report where possible.
        accuracy: the file's own accuracy on the whole test set, 0 to 1.
        accuracy_keras: the Keras model's on the same images, 0 to 1.
        parameters: of the Keras model, counted.
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
        parity: how far the file's outputs are from the Keras model's, such as
            `{"max_abs_diff": 1e-6, "ties": 0}`; in JSON each key begins with `parity_`.
    """

    path: str
    accuracy: float
    parameters: int
    size_bytes: int
    accuracy_keras: float | None = None
    macs: int | None = None
    gzip_bytes: int | None = None
    packed_bytes: int | None = None
    latency_ms_p50: float | None = None
    latency_ms_p90: float | None = None
    latency_runs: int | None = None
    peak_memory_bytes: int | None = None
    train_step_ms: float | None = None
    storage: str = "float32"
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses numbers that no file can have."""
        for field in ("accuracy", "accuracy_keras"):
            value = getattr(self, field)
            require(value is None or 0 <= value <= 1, f"{field} must be in 0..1; got {value}")
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
                value is None or 0 <= value < math.inf,
                f"{field} must be a time of 0 or more; got {value}",
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as JSON values, those of `parity` with the prefix `parity_`."""
        values = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name != "parity"
        }
        values.setdefault("parity_max_abs_diff", None)
        values |= {f"parity_{key.removeprefix('parity_')}": v for key, v in self.parity.items()}
        return strict(values)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FileResult:
        """Restores the result that `to_json` was called on."""
        prefix = "parity_"
        parity = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        return cls(**_fields(cls, values), parity=parity)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """A whole run: two files, how they were made, and how they compare.

    Attributes:
        technique: the technique or chain.
        reference: authors, year and arXiv id of the method.
        model: the builder's name or the user's file.
        dataset: the data set's name.
        dataset_split: how it was split, in words.
        test_images: number of images that the accuracies were measured on.
        seed: of the run.
        command: the command that repeats it.
        versions: package to version.
        machine: the machine that the times were measured on.
        config: the resolved settings.
        baseline: the uncompressed file.
        compressed: the compressed file.
        latency_ratio: compressed divided by baseline, measured interleaved; None if it wasn't.
        latency_ratio_p10: 10th percentile over the rounds.
        latency_ratio_p90: 90th percentile over the rounds.
        layers: per layer `name`, `kind`, `action` and `reason`: what was transformed, and what was
            left alone and why.
        layer_errors: for each layer of a quantised file, in the network's order,
            rms(output - output of the float file) / rms(output of the float file).
        layers_before: per layer of the baseline `name`, `kind`, `parameters`, `macs` and the
            `bytes` of its constants in the file; see `layer_costs.per_layer`.
        layers_after: the same for the compressed network.
        histories: for `baseline` and `compressed`, rows of `epoch`, `loss`, `train_error` and
            `test_error` (0 to 1), `step_ms`, `seconds`; a row may lack any of them.
        benchmarks: every file on every backend, as `FileBenchmark.to_json` gives it.
        notes: limits that the reader should know.
        created: ISO date and time.
    """

    technique: str
    model: str
    dataset: str
    seed: int
    baseline: FileResult
    compressed: FileResult
    created: str
    reference: str = ""
    dataset_split: str = ""
    test_images: int | None = None
    command: str = ""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    machine: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    latency_ratio: float | None = None
    latency_ratio_p10: float | None = None
    latency_ratio_p90: float | None = None
    layers: Sequence[Mapping[str, str]] = ()
    layer_errors: Mapping[str, float] = dataclasses.field(default_factory=dict)
    layers_before: Sequence[Mapping[str, Any]] = ()
    layers_after: Sequence[Mapping[str, Any]] = ()
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = dataclasses.field(default_factory=dict)
    benchmarks: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses ratios that can't be measured, and histories that no plot would show."""
        for field in ("latency_ratio", "latency_ratio_p10", "latency_ratio_p90"):
            value = getattr(self, field)
            require(value is None or 0 < value < math.inf, f"{field} must be positive; got {value}")
        unknown = sorted(set(self.histories) - set(HISTORIES))
        require(
            not unknown, f"histories are named {' and '.join(HISTORIES)}; got {', '.join(unknown)}"
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunResult:
        """Restores the result that `to_json` was called on, but for numbers that weren't finite.

        Raises:
            KeyError, TypeError, InputError: the values aren't a result's.
        """
        fields = _fields(cls, values)
        for title in ("baseline", "compressed"):
            fields[title] = FileResult.from_json(values[title])
        return cls(**fields, latency_ratio=values["ratio"]["latency"])

    @property
    def ratio(self) -> dict[str, float | None]:
        """Returns compressed divided by baseline, of `size`, `latency`, `parameters` and `macs`.

        The latency's ratio is the one measured interleaved, never the quotient of two medians.
        """
        return {
            "size": quotient(self.compressed.size_bytes, self.baseline.size_bytes),
            "latency": self.latency_ratio,
            "parameters": quotient(self.compressed.parameters, self.baseline.parameters),
            "macs": quotient(self.compressed.macs, self.baseline.macs),
        }

    @property
    def accuracy_change_points(self) -> float:
        """Returns the compressed file's accuracy minus the baseline's, in percentage points."""
        # Rounded, for 0.9085 - 0.9145 is -0.0060000000000000053 in binary.
        return round(100 * (self.compressed.accuracy - self.baseline.accuracy), 9)

    @property
    def worst_layers(self) -> list[tuple[str, float]]:
        """Returns the ten layers whose outputs quantisation changed most, the worst first."""
        return sorted(self.layer_errors.items(), key=lambda item: -item[1])[:10]

    def to_json(self) -> dict[str, Any]:
        """Returns the result as strict JSON values: NaN and infinity become None."""
        return strict(
            {
                "schema": SCHEMA,
                "technique": self.technique,
                "reference": self.reference,
                "model": self.model,
                "dataset": self.dataset,
                "dataset_split": self.dataset_split,
                "test_images": self.test_images,
                "seed": self.seed,
                "created": self.created,
                "command": self.command,
                "baseline": self.baseline.to_json(),
                "compressed": self.compressed.to_json(),
                "ratio": self.ratio,
                "latency_ratio_p10": self.latency_ratio_p10,
                "latency_ratio_p90": self.latency_ratio_p90,
                "accuracy_change_points": self.accuracy_change_points,
                "layers": self.layers,
                "layer_errors": self.layer_errors,
                "layers_before": self.layers_before,
                "layers_after": self.layers_after,
                "histories": self.histories,
                "benchmarks": self.benchmarks,
                "notes": self.notes,
                "versions": self.versions,
                "machine": self.machine,
                "config": self.config,
            }
        )


def _fields(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values that a dataclass has a field for."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {key: value for key, value in values.items() if key in names}


def quotient(compressed: float | None, baseline: float | None) -> float | None:
    """Divides compressed by baseline; None if either is missing or the baseline is 0."""
    return compressed / baseline if compressed is not None and baseline else None


def strict(value: Any) -> Any:
    """Replaces what JSON doesn't have.

    NaN and infinity become None, NumPy's scalars and arrays Python's, tuples lists, and other
    types (paths, dates) their text.

    >>> strict({"loss": float("nan"), "shape": (2, 3)})
    {'loss': None, 'shape': [2, 3]}
    """
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    if isinstance(value, (Sequence, set, frozenset)):
        return [strict(item) for item in value]
    return str(value)
