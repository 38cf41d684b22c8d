"""Describes a file that was written."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfcompress.export.parity import Parity

# Layers and notes that a printed description names.
_NAMED = 4


@dataclasses.dataclass(frozen=True)
class LayerBits:
    """The bits that were chosen for a layer, and what they cost.

    Attributes:
        bits: of a weight; 32 for floats.
        size_bytes: what the weights take in the file.
        microseconds: what the layer takes alone on the machine that exported; None where it wasn't
            timed.
        error: the rms of what they alone do to the outputs, as a share of the outputs' rms, where
            the other layers have the most bits; None where that wasn't measured.
    """

    bits: int
    size_bytes: int
    microseconds: float | None = None
    error: float | None = None

    @property
    def price(self) -> float:
        """What was to be saved: microseconds where layers were timed, else bytes."""
        return self.size_bytes if self.microseconds is None else self.microseconds

    @property
    def costs(self) -> str:
        """Says what they cost, such as `1,152 bytes, 21 µs`."""
        size = f"{self.size_bytes:,} bytes"
        return size if self.microseconds is None else f"{size}, {self.microseconds:,.0f} µs"

    def __str__(self) -> str:
        """Says the bits and what they cost."""
        return f"{self.bits} bits a weight, {self.costs}"


@dataclasses.dataclass(frozen=True, repr=False)
class Exported:
    """What was written. Printed, it is a few lines; the fields hold all of it.

    Attributes:
        path: the file.
        storage: how its weights are written.
        size_bytes: its size.
        ops: op name to count.
        weight_bytes: dtype to bytes of constants.
        float_products: names of the convolutions and dense ops whose weights stayed float.
        float_ops: names of all ops that compute in floats, in a file that is meant to compute in
            integers.
        parity: the comparison with Keras, or None if there were no images to compare on; of a file
            with two signatures that of the one which is further off. Of several outputs each has
            its own in `parity.outputs`.
        errors: in a file with rounded weights or activations, the rms of each layer's output
            against the float file's, as a share of that output's rms, the layers before included.
            Empty if there were no images.
        kept: layers that kept more bits than the storage gives, and why.
        layer_bits: by layer, where the bits of each were chosen.
        layer_bytes: bytes of constants by layer, the largest first; of what belongs to no layer by
            tensor.
        min_runtime: the oldest runtime that can run the file, such as `TensorFlow Lite 2.11.0,
            LiteRT 1.0`; of a file with ops that LiteRT doesn't have, who has them; of a file with
            two signatures, for the one of built-in ops.
        load_ms: median time of a load in a fresh process; of a file with two signatures, by the one
            of 1-bit ops.
        peak_memory_bytes: peak of a fresh process that loads the file and runs it once; None where
            the system doesn't say.
        failed_check: how the file differs from Keras by more than its storage allows, if it was
            written all the same (`strict=False`); None for a file that passed.
        notes: what its user should know, a sentence each.
        inputs: type and shape of each input by the model's name for it, in the file's order. Where
            there are several inputs or outputs the file's signature has these names, too.
        outputs: likewise.
    """

    path: str
    storage: str
    size_bytes: int
    ops: dict[str, int]
    weight_bytes: dict[str, int]
    float_products: tuple[str, ...]
    parity: Parity | None
    float_ops: tuple[str, ...] = ()
    errors: dict[str, float] = dataclasses.field(default_factory=dict)
    kept: dict[str, str] = dataclasses.field(default_factory=dict)
    layer_bits: dict[str, LayerBits] = dataclasses.field(default_factory=dict)
    layer_bytes: dict[str, int] = dataclasses.field(default_factory=dict)
    min_runtime: str = ""
    load_ms: float | None = None
    peak_memory_bytes: int | None = None
    failed_check: str | None = None
    notes: tuple[str, ...] = ()
    inputs: dict[str, str] = dataclasses.field(default_factory=dict)
    outputs: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def runs_on(self) -> str:
        """Says which runtimes run the file; where the oldest has a version, newer ones do too."""
        return (
            f"{self.min_runtime} and newer" if self.min_runtime[-1:].isdigit() else self.min_runtime
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the fields by name."""
        return dataclasses.asdict(self)

    def __repr__(self) -> str:
        """Describes the file in a few lines."""
        lines = [f"{self.path}: {self.storage}, {self.size_bytes / 1024:,.1f} KiB; {self._near()}"]
        if self.failed_check is not None:
            lines.append(f"failed its check: {self.failed_check}")
        if self.kept:
            names = list(self.kept)
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            lines.append(f"kept more bits: {', '.join(names[:_NAMED])}{more}")
        if self.min_runtime:
            lines.append(f"runs on {self.runs_on}")
        lines += [f"note: {note}" for note in self.notes[:_NAMED]]
        if len(self.notes) > _NAMED:
            lines.append(f"and {len(self.notes) - _NAMED} more notes")
        return "\n  ".join(lines)

    def _near(self) -> str:
        """Says how near the file's outputs are to Keras's."""
        if self.parity is None:
            return "not compared with Keras: there were no images"
        several = [
            f"{name} {parity.relative_rms:.2g}" for name, parity in self.parity.outputs.items()
        ]
        text = (
            f"outputs differ from Keras's by {self.parity.relative_rms:.2g} of their rms (at most "
            f"by {self.parity.max_abs_diff:.2g} of {self.parity.max_abs_output:.3g}"
            f"{': ' if several else ''}{', '.join(several)})"
        )
        if self.parity.agreement is None:
            return text
        return f"{text}, labels agree on {self.parity.agreement:.1%} of {self.parity.images} images"
