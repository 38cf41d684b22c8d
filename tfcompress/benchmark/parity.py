"""Compares what a backend computes with what the CPU computes."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tfcompress.ops.differences import relative_rms

if TYPE_CHECKING:
    import numpy as np

# The largest `relative_rms` at which two backends compute the same function, by the precision.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2}
# A GPU or a delegate may compute in floats what the CPU rounds to integers at each op.
INTEGER_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far a backend's outputs are from the CPU's.

    Attributes:
        relative_rms: rms of an output's difference divided by the rms of the CPU's output; that of
            the worst output. Infinite if one has NaN where the CPU's has none, or a wrong shape.
        max_abs: the largest difference of two values.
        tolerance: the largest `relative_rms` that is allowed.
    """

    relative_rms: float
    max_abs: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Tells whether the backend computed what the CPU computes."""
        return self.relative_rms <= self.tolerance


def compare(
    actual: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]], *, tolerance: float
) -> Parity:
    """Compares two answers of the measuring process to the same inputs.

    Args:
        actual: the backend's outputs, as `tfcompress.benchmark.child.probe` gives them.
        expected: the CPU's outputs, whose scales hold for both.
        tolerance: see `Parity`.
    """
    import numpy as np

    by_place = {output["place"]: output for output in actual}
    worst, largest = 0.0, 0.0
    for output in expected:
        other = by_place.get(output["place"])
        if other is None or other["shape"] != output["shape"] or other["dtype"] != output["dtype"]:
            return Parity(math.inf, math.inf, tolerance)
        cpu, backend = _real_numbers(output, output), _real_numbers(other, output)
        finite = np.isfinite(cpu)
        if not np.array_equal(finite, np.isfinite(backend)):
            return Parity(math.inf, math.inf, tolerance)
        if not finite.any():
            continue
        cpu, backend = cpu[finite], backend[finite]
        worst = max(worst, relative_rms(cpu, backend))
        largest = max(largest, float(np.abs(backend - cpu).max()))
    return Parity(worst, largest, tolerance)


def _real_numbers(output: Mapping[str, Any], scaled: Mapping[str, Any]) -> np.ndarray:
    """Decodes an output, with the scale of another one."""
    import numpy as np

    data = base64.b64decode(output["data"])
    values: np.ndarray = np.frombuffer(data, output["dtype"]).astype(np.float64)
    scale, zero_point = scaled["quantization"] or (0.0, 0.0)
    return scale * (values - zero_point) if scale else values
