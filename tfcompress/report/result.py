"""Holds a run's result, and turns it into JSON that other programs rely on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from tfcompress.errors import require
from tfcompress.report import shapes

HISTORIES = ("baseline", "compressed")
# The version of report.json, raised when a key that others rely on changes its meaning or goes.
SCHEMA = 1
# Times in milliseconds and their ratios lie between these, or no picture could show them.
_LEAST, _MOST = 1e-12, 1e12
# A storage makes a file, and there are some fifteen.
_MOST_FILES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileResult:
    """One `.tflite` file: how well it does and what it costs. None stands for what wasn't measured.

    Attributes:
        path: the file, relative to the report where possible.
        accuracy: the file's own accuracy on the whole test set, 0 to 1.
        accuracy_keras: the Keras model's on the same images, 0 to 1.
        keras_agreement: the share of these images to which the file gives the Keras model's label.
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
        needs: what a runtime must have beyond LiteRT's own ops, such as `1-bit kernels`; empty if
            nothing.
        failed_check: how the file differs from Keras by more than its storage allows, where it was
            written all the same; None if it passed.
        latency_ratio: latency divided by the baseline's, measured in turns with it.
        latency_ratio_p10: 10th percentile of that over the rounds.
        latency_ratio_p90: 90th percentile of it.
        accuracy_interval_points: bounds of the 95% interval of the accuracy's change, in
            percentage points; see `runtime.accuracy.change_interval`.
        layer_errors: for each layer of a file with rounded values, in the network's order,
            rms(output - output of the float file) / rms(output of the float file).
        layers: per layer `name`, `kind`, `parameters`, `macs` and the `bytes` of its constants in
            the file; see `layer_costs.per_layer`.
        parity: how far the file's outputs are from the Keras model's, such as
            `{"max_abs_diff": 1e-6, "ties": 0}`; in JSON each key begins with `parity_`.
    """

    path: str
    accuracy: float
    parameters: int
    size_bytes: int
    accuracy_keras: float | None = None
    keras_agreement: float | None = None
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
    layer_errors: Annotated[Mapping[str, float], Mapping[str, float | None]] = dataclasses.field(
        default_factory=dict
    )
    layers: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.LayerCost]] = ()
    parity: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuses numbers that no file can have."""
        for field in ("accuracy", "accuracy_keras", "keras_agreement"):
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
                value is None or value == 0 or _LEAST < value < _MOST,
                f"{field} must be a time of 0 or more; got {value}",
            )
        for field in ("latency_ratio", "latency_ratio_p10", "latency_ratio_p90"):
            value = getattr(self, field)
            require(
                value is None or _LEAST < value < _MOST, f"{field} must be positive; got {value}"
            )

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
            if field.name != "parity"
        }
        values.setdefault("parity_max_abs_diff", None)
        values |= {f"parity_{key.removeprefix('parity_')}": v for key, v in self.parity.items()}
        return strict(values)

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "") -> FileResult:
        """Restores the result that `to_json` was called on.

        Args:
            values: what JSON gave.
            where: what error messages put before a field's name.

        Raises:
            InputError: the values aren't a result's.
        """
        prefix = "parity_"
        parity = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}
        fields = shapes.read_fields(cls, values, where)
        fields.pop("parity", None)
        interval = fields.get("accuracy_interval_points")
        if interval is not None:
            fields["accuracy_interval_points"] = tuple(interval)
        return cls(**fields, parity=parity)


# Written under `files` alone; the first file's stand under the report's older keys too.
_IN_FILES = frozenset(
    {
        "latency_ratio",
        "latency_ratio_p10",
        "latency_ratio_p90",
        "accuracy_interval_points",
        "failed_check",
        "layer_errors",
        "layers",
        "needs",
    }
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunResult:
    """A whole run: the baseline's file and those of the compressed network, and how they compare.

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
        files: the compressed network's files, one a storage; the first is `compressed`. Empty if
            none could be written.
        unwritten: storage to the reason why its file wasn't written.
        layers: per layer `name`, `kind`, `action` and `reason`: what was transformed, and what was
            left alone and why.
        histories: for `baseline` and `compressed`, rows of `epoch`, `loss`, `train_error` and
            `test_error` (0 to 1), `step_ms`, `seconds`; a row may lack any of them.
        benchmarks: every file on every backend, as `FileBenchmark.to_json` gives it: for each
            backend the baseline's, then those of `files` in their order.
        notes: limits that the reader should know.
        created: ISO date and time.
    """

    technique: str
    model: str
    dataset: str
    seed: int
    baseline: FileResult
    files: Sequence[FileResult]
    created: str
    reference: str = ""
    dataset_split: str = ""
    test_images: int | None = None
    command: str = ""
    versions: Annotated[Mapping[str, str], Mapping[str, str | None]] = dataclasses.field(
        default_factory=dict
    )
    machine: Annotated[Mapping[str, Any], shapes.Machine] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unwritten: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layers: Annotated[Sequence[Mapping[str, str]], Sequence[shapes.LayerAction]] = ()
    histories: Annotated[
        Mapping[str, Sequence[Mapping[str, Any]]], Mapping[str, Sequence[shapes.Epoch]]
    ] = dataclasses.field(default_factory=dict)
    benchmarks: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.Benchmark]] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses files that no key tells apart, and histories that no plot would show."""
        object.__setattr__(self, "files", tuple(self.files))
        names = [file.storage for file in self.files]
        require(
            len(set(names)) == len(names), f"two files of one storage: {', '.join(sorted(names))}"
        )
        unknown = sorted(set(self.histories) - set(HISTORIES))
        require(
            not unknown, f"histories are named {' and '.join(HISTORIES)}; got {', '.join(unknown)}"
        )

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> RunResult:
        """Restores the result that `to_json` was called on, but for numbers that weren't finite.

        Reports without `files`, as they were before a run could write several, are read too.

        Raises:
            InputError: the values aren't a result's.
        """
        shapes.check(values, Mapping[str, Any], "a report")
        layers = values.get("layers_before", [])
        shapes.check(values.get("baseline"), Mapping[str, Any], "baseline")
        if "files" in values:
            shapes.check(values["files"], Mapping[str, Mapping[str, Any]], "files")
            entries = values["files"]
        else:
            entries = {"compressed": _only_file(values)}
        require(len(entries) <= _MOST_FILES, f"{len(entries)} files are more than a run can write")
        baseline = FileResult.from_json({**values["baseline"], "layers": layers}, "baseline.")
        files = [FileResult.from_json(entry, f"{name}.") for name, entry in entries.items()]
        fields = shapes.read_fields(cls, values, but=("baseline", "files"))
        return cls(**fields, baseline=baseline, files=files)

    @property
    def compressed(self) -> FileResult:
        """Returns the first of the compressed network's files.

        Raises:
            LookupError: none could be written.
        """
        if not self.files:
            raise LookupError("the run wrote no file of the compressed network")
        return self.files[0]

    @property
    def ratio(self) -> dict[str, float | None]:
        """Returns `ratio_of` the first file."""
        return self.ratio_of(self.compressed)

    @property
    def accuracy_change_points(self) -> float:
        """Returns `accuracy_change_of` the first file."""
        return self.accuracy_change_of(self.compressed)

    def ratio_of(self, file: FileResult) -> dict[str, float | None]:
        """Returns a file divided by the baseline: `size`, `latency`, `parameters` and `macs`.

        The latency's ratio is the one measured in turns, never the quotient of two medians.
        """
        return {
            "size": quotient(file.size_bytes, self.baseline.size_bytes),
            "latency": file.latency_ratio,
            "parameters": quotient(file.parameters, self.baseline.parameters),
            "macs": quotient(file.macs, self.baseline.macs),
        }

    def accuracy_change_of(self, file: FileResult) -> float:
        """Returns a file's accuracy minus the baseline's, in percentage points."""
        return percentage_points(self.baseline.accuracy, file.accuracy)

    def to_json(self) -> dict[str, Any]:
        """Returns the result as strict JSON values: NaN and infinity become None.

        Of a run that wrote no compressed file `compressed`, `ratio` and `accuracy_change_points`
        are None.
        """
        first = self.files[0] if self.files else None
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
                "baseline": _without(self.baseline.to_json(), _IN_FILES),
                "compressed": _without(first.to_json(), _IN_FILES) if first else None,
                "ratio": self.ratio if first else None,
                "latency_ratio_p10": first.latency_ratio_p10 if first else None,
                "latency_ratio_p90": first.latency_ratio_p90 if first else None,
                "accuracy_change_points": self.accuracy_change_points if first else None,
                "files": {
                    file.storage: {
                        **file.to_json(),
                        "ratio": self.ratio_of(file),
                        "accuracy_change_points": self.accuracy_change_of(file),
                    }
                    for file in self.files
                },
                "unwritten": self.unwritten,
                "layers": self.layers,
                "layer_errors": first.layer_errors if first else {},
                "layers_before": self.baseline.layers,
                "layers_after": first.layers if first else [],
                "histories": self.histories,
                "benchmarks": self.benchmarks,
                "notes": self.notes,
                "versions": self.versions,
                "machine": self.machine,
                "config": self.config,
            }
        )


def _only_file(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entry of `files` of a report that has none, from the keys of its one file."""
    for name in ("compressed", "ratio"):
        require(name in values, f"{name} is missing")
        shapes.check(values.get(name), Mapping[str, Any], name)
    return {
        **values["compressed"],
        "latency_ratio": values["ratio"].get("latency"),
        "latency_ratio_p10": values.get("latency_ratio_p10"),
        "latency_ratio_p90": values.get("latency_ratio_p90"),
        "layer_errors": values.get("layer_errors", {}),
        "layers": values.get("layers_after", []),
    }


def _without(values: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    """Returns the values but for some keys."""
    return {key: value for key, value in values.items() if key not in keys}


def percentage_points(before: float, after: float) -> float:
    """Returns by how many percentage points one share is above another.

    >>> percentage_points(0.9145, 0.9085)
    -0.6
    """
    # Rounded, for 0.9085 - 0.9145 is -0.0060000000000000053 in binary.
    return round(100 * (after - before), 9)


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
