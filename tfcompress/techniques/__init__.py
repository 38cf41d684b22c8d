"""Compression techniques, one a file; each file ends in one `TECHNIQUE` value."""

from tfcompress.techniques.base import (
    SAMPLES,
    Candidate,
    Control,
    LayerLine,
    LayerWidth,
    Property,
    Technique,
    get,
    names,
)
from tfcompress.techniques.chains import (
    Step,
    apply,
    chain,
    check,
    check_distillation,
    distribute,
    make_steps,
    sketch,
    transforms_of,
)

__all__ = [
    "SAMPLES",
    "Candidate",
    "Control",
    "LayerLine",
    "LayerWidth",
    "Property",
    "Step",
    "Technique",
    "apply",
    "chain",
    "check",
    "check_distillation",
    "distribute",
    "get",
    "make_steps",
    "names",
    "sketch",
    "transforms_of",
]
