"""The names of before `tfcompress.training.distill`, for one more version."""

from __future__ import annotations

import warnings
from typing import Any

from tfcompress.deprecated import moved

__getattr__ = moved(__name__, {"divergence": "tfcompress.training.distill.divergence"})


def Distiller(  # noqa: N802 - it was a class.
    student: Any,
    teacher: Any,
    *,
    weight: float,
    temperature: float,
    outputs_given: bool = False,
    classes: tuple[bool, ...] | None = None,
) -> Any:
    """Returns a `tfcompress.training.distill.Distiller` with the loss `KD`.

    Args:
        student: the model that is trained.
        teacher: of the same outputs.
        weight: the share of the teacher's loss.
        temperature: of the loss.
        outputs_given: as there.
        classes: as in `KD`.
    """
    from tfcompress.training.distill import KD
    from tfcompress.training.distill import Distiller as Current

    warnings.warn(
        f"{__name__}.Distiller(student, teacher, weight=..., temperature=...) is "
        "tfcompress.training.distill.Distiller(teacher, student, KD(temperature), None, "
        "1 - weight) now; the old name goes with the next version",
        DeprecationWarning,
        stacklevel=2,
    )
    loss = KD(temperature, classes=classes)
    return Current(teacher, student, loss, None, 1 - weight, outputs_given=outputs_given)
