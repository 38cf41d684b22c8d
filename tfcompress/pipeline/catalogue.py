"""Writes what `--list` prints: every name that a flag takes, and every option."""

from __future__ import annotations

import inspect
from typing import Any, Literal, get_args, get_origin

from tfcompress import data, models, techniques
from tfcompress.config import Training
from tfcompress.export import STORAGES
from tfcompress.options import option_types


def text() -> str:
    """Lists techniques with references and options, models, data sets and storages."""
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
        options = _options(data.options_type(scheme))
        lines += [line.replace("--set", f"{scheme} --set") for line in options]
    lines += ["", "Storages (--storage):"]
    lines += [f"  {storage.name}: {storage.summary}" for storage in STORAGES.values()]
    lines += ["", "Training options, for every technique:"]
    flags = tuple(f"    --set {name}=" for name in ("epochs", "batch_size", "learning_rate"))
    lines += [line for line in _options(Training) if not line.startswith(flags)]
    return "\n".join(lines)


def _options(taker: Any) -> list[str]:
    """Writes one line an option, with its default and what else it may be."""
    defaults = inspect.signature(taker).parameters
    lines = []
    for name, kind in option_types(taker).items():
        words = _words(kind)
        among = f"  ({' | '.join(words)})" if words else ""
        lines.append(f"    --set {name}={_shown(defaults[name].default)}{among}")
    return lines


def _words(kind: Any) -> tuple[str, ...]:
    """Returns the words that an option may be, if it is one of a few."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return tuple(word for inner in get_args(kind) for word in _words(inner))


def _shown(value: Any) -> str:
    if value is None:
        return "as the recipe has it"
    return ",".join(value) if isinstance(value, tuple) else str(value)
