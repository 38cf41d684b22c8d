"""What `--list` prints: every name that a flag takes, and every option."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from tfcompress import data, models, techniques
from tfcompress.config import Training, option_types
from tfcompress.export import STORAGES


def text() -> str:
    """Techniques with their references and options, models, data sets, storages."""
    lines = ["Techniques (--technique):"]
    for name in techniques.names():
        technique = techniques.get(name)
        lines += [
            f"  {name}: {technique.summary}",
            f"    {technique.reference}; stored as {technique.storage}",
            *_options(technique.options),
        ]
    lines += ["", "Models (--model), or the path of your own .keras or .h5 file:"]
    for name in models.names():
        module = models.get(name)
        summary = (inspect.getdoc(module) or "").splitlines()[0]
        lines += [f"  {name}: {summary}", *_options(module.build)]
    lines += ["", "Data sets (--dataset):"]
    lines += [f"  {name}: {what}" for name, what in data.names().items()]
    for scheme in ("folder:PATH", "rafd:PATH"):
        lines += [line.replace("--set", f"{scheme} --set") for line in _options(_kind(scheme))]
    lines += ["", "Storages (--storage):"]
    lines += [f"  {storage.name}: {storage.summary}" for storage in STORAGES.values()]
    lines += ["", "Training options, for every technique:"]
    lines += [
        f"    --set {field.name}={field.default}"
        for field in dataclasses.fields(Training)
        if field.name not in ("epochs", "batch_size", "learning_rate")
    ]
    return "\n".join(lines)


def _kind(scheme: str) -> Any:
    return data.options_type(scheme)


def _options(taker: Any) -> list[str]:
    """One line an option, with its default."""
    defaults = inspect.signature(taker).parameters
    return [f"    --set {name}={_shown(defaults[name].default)}" for name in option_types(taker)]


def _shown(value: Any) -> str:
    if value is None:
        return "(as the recipe has it)"
    return ",".join(value) if isinstance(value, tuple) else str(value)
