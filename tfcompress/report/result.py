"""Holds a run's result, and turns it into JSON that other programs rely on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from tfcompress.errors import require
from tfcompress.metric import Metric
from tfcompress.report import shapes
from tfcompress.report.file_result import FileResult
from tfcompress.report.strict_json import strict

HISTORIES = ("baseline", "compressed")
# The version of report.json, raised when a key that others rely on changes its meaning or goes.
SCHEMA = 1
# A storage makes a file, and there are some fifteen.
_MOST_FILES = 100


# Written under `files` alone; the first file's stand under the report's older keys too.
_IN_FILES = frozenset(
    {
        "latency_ratio",
        "latency_ratio_p10",
        "latency_ratio_p90",
        "accuracy_interval_points",
        "metric_interval_percent",
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
        test_images: number of images, or other examples, that the files were judged on.
        examples: what these are called, `images` or another word.
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
        milestones: `name` and `value`: what had been done to the network by then, and the metric
            on the test examples, by Keras where no file is named.
        widths: per layer `name`, `before` and `after`: how many channels it makes, and `frozen`:
            why all had to stay, or an empty text.
        histories: for `baseline` and `compressed`, rows of `epoch`, `loss`, `train_error` and
            `test_error` (0 to 1), `step_ms`, `seconds`; a row may lack any of them.
        benchmarks: every file on every backend, as `FileBenchmark.to_json` gives it: for each
            backend the baseline's, then those of `files` in their order.
        teacher: `name` and `accuracy` of the network that taught, by Keras on the test examples; of
            a run with another metric, that. None where only labels taught.
        transfer: `name` and number of `examples` of the unlabelled examples that the compressed
            network was trained on; None where it was trained on the data set's.
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
    examples: str = "images"
    command: str = ""
    versions: Annotated[Mapping[str, str], Mapping[str, str | None]] = dataclasses.field(
        default_factory=dict
    )
    machine: Annotated[Mapping[str, Any], shapes.Machine] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unwritten: Mapping[str, str] = dataclasses.field(default_factory=dict)
    layers: Annotated[Sequence[Mapping[str, str]], Sequence[shapes.LayerAction]] = ()
    milestones: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.Milestone]] = ()
    widths: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.LayerWidth]] = ()
    histories: Annotated[
        Mapping[str, Sequence[Mapping[str, Any]]], Mapping[str, Sequence[shapes.Epoch]]
    ] = dataclasses.field(default_factory=dict)
    benchmarks: Annotated[Sequence[Mapping[str, Any]], Sequence[shapes.Benchmark]] = ()
    teacher: Annotated[Mapping[str, Any] | None, shapes.Teacher | None] = None
    transfer: Annotated[Mapping[str, Any] | None, shapes.Transfer | None] = None
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
        metric = _metric_of(values)
        baseline = {**values["baseline"], "layers": layers}
        files = [FileResult.from_json(entry, f"{name}.", metric) for name, entry in entries.items()]
        fields = shapes.read_fields(cls, values, but=("baseline", "files"))
        return cls(
            **fields, baseline=FileResult.from_json(baseline, "baseline.", metric), files=files
        )

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
    def metric(self) -> Metric:
        """Returns what the files are judged by."""
        return self.baseline.metric

    @property
    def accuracy_change_points(self) -> float | None:
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

    def change_of(self, file: FileResult) -> float | None:
        """Returns how the metric changed, in points or percent; None where percent mean nothing."""
        return self.metric.change(self.baseline.accuracy, file.accuracy)

    def accuracy_change_of(self, file: FileResult) -> float | None:
        """Returns a file's accuracy minus the baseline's, in percentage points; None of others."""
        return self.change_of(file) if self.metric.share else None

    def _changes_of(self, file: FileResult) -> dict[str, float | None]:
        """Returns the change under the key that says its unit."""
        changes = {"accuracy_change_points": self.accuracy_change_of(file)}
        return (
            changes
            if self.metric.share
            else changes | {"metric_change_percent": self.change_of(file)}
        )

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
                "examples": self.examples,
                "metric": self.metric.name,
                "metric_higher_is_better": self.metric.higher_is_better,
                "metric_is_share": self.metric.share,
                "seed": self.seed,
                "created": self.created,
                "command": self.command,
                "baseline": _without(self.baseline.to_json(), _IN_FILES),
                "compressed": _without(first.to_json(), _IN_FILES) if first else None,
                "ratio": self.ratio if first else None,
                "latency_ratio_p10": first.latency_ratio_p10 if first else None,
                "latency_ratio_p90": first.latency_ratio_p90 if first else None,
                **(self._changes_of(first) if first else {"accuracy_change_points": None}),
                "files": {
                    file.storage: {
                        **file.to_json(),
                        "ratio": self.ratio_of(file),
                        **self._changes_of(file),
                    }
                    for file in self.files
                },
                "unwritten": self.unwritten,
                "layers": self.layers,
                "milestones": self.milestones,
                "widths": self.widths,
                "layer_errors": first.layer_errors if first else {},
                "layers_before": self.baseline.layers,
                "layers_after": first.layers if first else [],
                "histories": self.histories,
                "benchmarks": self.benchmarks,
                "teacher": self.teacher,
                "transfer": self.transfer,
                "notes": self.notes,
                "versions": self.versions,
                "machine": self.machine,
                "config": self.config,
            }
        )


def _metric_of(values: Mapping[str, Any]) -> Metric:
    """Returns what the files of a report are judged by; older ones don't say that it is accuracy.

    Raises:
        InputError: the values have other types.
    """
    fields = {"name": "metric", "higher_is_better": "metric_higher_is_better",
              "share": "metric_is_share"}  # fmt: skip
    found = {field: values[key] for field, key in fields.items() if key in values}
    for field, value in found.items():
        shapes.check(value, str if field == "name" else bool, fields[field])
    return Metric(**found)


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


def quotient(compressed: float | None, baseline: float | None) -> float | None:
    """Divides compressed by baseline; None if either is missing or the baseline is 0."""
    return compressed / baseline if compressed is not None and baseline else None
