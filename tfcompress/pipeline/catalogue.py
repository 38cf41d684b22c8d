"""Writes what `--list` prints: every name that a flag takes, and every option."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Literal, get_args, get_origin

from tfcompress import models, techniques
from tfcompress.config import Distillation, Inversion, Training
from tfcompress.data.source import all_sources
from tfcompress.data.transfer import kinds
from tfcompress.export import storages
from tfcompress.options import option_types, ranges


def text() -> str:
    """Lists techniques with references and options, models, data sets and storages."""
    lines = ["Techniques (--technique):"]
    for name in techniques.names():
        technique = techniques.get(name)
        lines += [
            f"  {name}: {technique.summary}",
            f"    {technique.reference}; stored as {' and '.join(technique.storages)}",
            *([f"    also: {', '.join(technique.aliases)}"] if technique.aliases else []),
            *_options(technique.options),
        ]
    lines += ["", "Models (--model), or the path of your own .keras or .h5 file:"]
    for name in models.names():
        module = models.get(name)
        summary = (inspect.getdoc(module) or "").splitlines()[0]
        lines += [f"  {name}: {summary}", *_options(module.build)]
    lines += ["", "Data sets (--dataset):"]
    for source in all_sources():
        lines.append(f"  {source.pattern}: {source.summary}")
        lines += [f"    as in --dataset={source.example}"] if source.example else []
        lines += _options(source.options) if source.options is not None else []
    lines += ["", "Unlabelled examples (--transfer), or any of the data sets:"]
    lines += [f"  {name}: {summary}" for name, summary in kinds.names().items()]
    lines += [line.replace("--set ", "--set inversion.") for line in _options(Inversion)]
    lines += ["", "Storages (--storage):"]
    lines += [f"  {storage.name}: {storage.summary}" for storage in storages.by_name().values()]
    lines += ["", "Training options, for every technique:"]
    own = ("epochs", "batch_size", "learning_rate", "distillation")
    flags = tuple(f"    --set {name}=" for name in own)
    lines += [line for line in _options(Training) if not line.startswith(flags)]
    lines += ["", "What a teacher teaches, for every technique that trains:"]
    lines += [line.replace("--set ", "--set distillation.") for line in _options(Distillation)]
    return "\n".join(lines)


def _options(taker: Any) -> list[str]:
    """Writes one line an option, with its default and what else it may be."""
    defaults = inspect.signature(taker).parameters
    lines = []
    tried = ranges(taker) if dataclasses.is_dataclass(taker) else {}
    for name, kind in option_types(taker).items():
        words = _words(kind)
        among = f"  ({' | '.join(words)})" if words else ""
        among += f"  (a search tries {tried[name]})" if name in tried else ""
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
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
