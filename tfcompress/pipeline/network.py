"""What is known of one of a run's two networks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfcompress.benchmark import FileBenchmark
from tfcompress.config import RANGES, ROUNDINGS
from tfcompress.export import Exported
from tfcompress.techniques import Control, LayerLine, LayerWidth
from tfcompress.training.context import Row

if TYPE_CHECKING:
    import keras


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class NetworkFile:
    """One file of a network.

    Attributes:
        exported: what was written.
        benchmarks: the file's measurements, one for each backend; empty if none were wanted.
    """

    exported: Exported
    benchmarks: tuple[FileBenchmark, ...] = ()

    @property
    def times(self) -> FileBenchmark | None:
        """The measurements on the first backend, whose latency the report compares."""
        return self.benchmarks[0] if self.benchmarks else None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """The baseline or the compressed network: each stage of a run adds what it found out.

    Attributes:
        title: `baseline`, `compressed` or `control`; its files are named so.
        model: the trained Keras model.
        history: one row an epoch.
        storages: how the weights are written, one file each.
        io: what a file of integers takes and gives, as `export` has it; None for the default.
        ranges: of integer activations, for the files that take them from inputs.
        rounding: of weights, for the files that can have it.
        short_names: whether tensors inside the files are named by one layer each.
        layers: what the techniques did to each layer.
        milestones: what models on the way were worth, by what had been done by then.
        widths: of the layers that techniques made narrower, or tried to.
        control: what is trained to compare with; None where that isn't wanted.
        validation: arguments of `export.Validation`, by which the export chooses layers that keep
            more bits; empty if it isn't to choose.
        noise_budget: bits of `export.NoiseBudget`, by which the export allots bits; None if it
            isn't to.
        files: those that were written, in the order of `storages`.
        unwritten: storages whose files couldn't be written, and why.
    """

    title: str
    model: keras.Model
    history: list[Row]
    storages: tuple[str, ...]
    io: str | None = None
    ranges: str = RANGES[0]
    rounding: str = ROUNDINGS[0]
    short_names: bool = False
    layers: tuple[LayerLine, ...] = ()
    milestones: tuple[tuple[str, float], ...] = ()
    widths: tuple[LayerWidth, ...] = ()
    control: Control | None = None
    validation: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    noise_budget: int | None = None
    files: tuple[NetworkFile, ...] = ()
    unwritten: Mapping[str, str] = dataclasses.field(default_factory=dict)
