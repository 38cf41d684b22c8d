"""What is known of one of a run's two networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcompress.benchmark import FileBenchmark
from tfcompress.export import Exported
from tfcompress.techniques import LayerLine
from tfcompress.training.context import Row

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The baseline or the compressed network: each stage of a run adds what it found out.

    Attributes:
        title: `baseline` or `compressed`; its files are named so.
        model: the trained Keras model.
        history: one row an epoch.
        storage: how the file's weights are written.
        io: what the file takes and gives, as `export` has it; None for the storage's own.
        layers: what the techniques did to each layer.
        validation: arguments of `export.Validation`, by which the export chooses layers that keep
            more bits; empty if it isn't to choose.
        exported: the file, once it is written.
        benchmarks: the file's measurements, one for each backend; empty if none were wanted.
    """

    title: str
    model: keras.Model
    history: list[Row]
    storage: str
    io: str | None = None
    layers: tuple[LayerLine, ...] = ()
    validation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    exported: Exported | None = None
    benchmarks: tuple[FileBenchmark, ...] = ()

    @property
    def file(self) -> Exported:
        """The file, which must have been written."""
        assert self.exported is not None, f"the {self.title} network has no file yet"
        return self.exported

    @property
    def times(self) -> FileBenchmark | None:
        """The measurements on the first backend, whose latency the report compares."""
        return self.benchmarks[0] if self.benchmarks else None
