"""Whether a backend computes what the CPU computes."""

from __future__ import annotations

import base64
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

# Largest rms of the difference, as a share of the outputs' rms, that still is the same function.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2}
# A GPU or a delegate may compute in floats what the CPU rounds to integers at each op.
INTEGER_TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far outputs are from the CPU's.

    Attributes:
        relative_rms: rms of the difference divided by the rms of the CPU's output, the worst
            output's; infinite for NaN or a wrong shape.
        max_abs: the largest difference.
        tolerance: what `relative_rms` may be.
    """

    relative_rms: float
    max_abs: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the backend computed what the CPU computes."""
        return self.relative_rms <= self.tolerance


def compare(
    found: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]], *, tolerance: float
) -> Parity:
    """Compares two answers of the measuring process on the same inputs.

    Args:
        found: the backend's outputs.
        wanted: the CPU's outputs, whose scales hold for both.
        tolerance: see `Parity`.
    """
    import numpy as np

    by_place = {output["place"]: output for output in found}
    worst, largest = 0.0, 0.0
    for output in wanted:
        other = by_place.get(output["place"])
        if other is None or other["shape"] != output["shape"] or other["dtype"] != output["dtype"]:
            return Parity(math.inf, math.inf, tolerance)
        right, left = _reals(output, output), _reals(other, output)
        if not np.array_equal(np.isfinite(right), np.isfinite(left)):
            return Parity(math.inf, math.inf, tolerance)
        finite = np.isfinite(right)
        right, left = right[finite], left[finite]
        if right.size == 0:
            continue
        difference = left - right
        size = math.sqrt(float(np.mean(right**2)))
        # Of outputs that are all zero only an equal one is right.
        rms = math.sqrt(float(np.mean(difference**2)))
        worst = max(worst, rms / size if size else (math.inf if rms else 0.0))
        largest = max(largest, float(np.abs(difference).max()))
    return Parity(worst, largest, tolerance)


def _reals(output: Mapping[str, Any], scaled: Mapping[str, Any]) -> Any:
    """An output as real numbers."""
    import numpy as np

    data = base64.b64decode(output["data"])
    values = np.frombuffer(data, output["dtype"]).astype(np.float64)
    scale, zero_point = scaled["quantization"] or (0.0, 0.0)
    return scale * (values - zero_point) if scale else values
