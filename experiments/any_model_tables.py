"""The tables of docs/models_and_techniques.md, from the rows of `any_model.py`.

Which cells a user would expect to work is said here, in `FOR` and `STORED`, by the kinds of layers
that a technique is for; neither asks the technique.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from measurements import Measurements, Row

RESULTS = Path(__file__).resolve().parent / "results" / "any_model"
ANY = frozenset({"any"})
# Convolutions larger than 1x1, along two axes; and along one.
WIDE_2D = frozenset({"Conv2D", "SeparableConv2D"})
WIDE = WIDE_2D | {"Conv1D", "SeparableConv1D"}
PRODUCTS = WIDE | {"Conv2D 1x1", "Conv1D 1x1", "Dense", "EinsumDense"}
# Kinds of layers between a model's first and last layer with weights, one of which a technique
# needs.
FOR = {
    **dict.fromkeys(("baseline", "dynamic", "float16", "int8", "int8_int4", "mixed"), ANY),
    **dict.fromkeys(("prune", "dsd", "cluster", "deep_compression", "qat", "minmax8"), ANY),
    **dict.fromkeys(("bwn", "xnor", "binary_activations", "svd", "tt", "channels"), PRODUCTS),
    "hashed": frozenset({"Dense", "EinsumDense"}),
    **dict.fromkeys(("cp", "tucker"), WIDE - {"SeparableConv1D", "SeparableConv2D"}),
    "separable": frozenset({"Conv1D", "Conv2D"}),
    "spatial": frozenset({"Conv2D"}),
    "perforate": frozenset({"Conv1D", "Conv2D"}),
}
# The same for storages: those that are for any model, and the others by the technique that makes
# what they are for. `lce` needs a package that isn't here.
STORED = {
    **dict.fromkeys(("float32", "float16", "dynamic", "int8", "int4", "int8_int4"), ANY),
    **{"sparse": FOR["prune"], "1bit": FOR["bwn"], "int2": FOR["bwn"]},
    **{"xnor": FOR["xnor"], "xnor+int8": FOR["xnor"], "lce": frozenset()},
}
KINDS = {"technique": FOR, "storage": STORED}


def expected(kind: str, name: str, layers: Collection[str]) -> bool:
    """Returns whether a user would expect a cell to work.

    Args:
        kind: `technique` or `storage`.
        name: which one.
        layers: kinds of the model's layers, as a row of `baseline` has them.
    """
    needed = KINDS[kind][name]
    return needed == ANY or bool(needed & set(layers))


def models_of(results: Measurements) -> list[str]:
    """Returns the models that were measured, in the order of `user_models`."""
    from user_models import MODELS

    there = {key.split(", ")[0] for key in results.rows}
    return [model for model in MODELS if model in there]


def cell(results: Measurements, model: str, kind: str, name: str) -> Row | None:
    """Returns the row of a cell, if it was measured."""
    return results.rows.get(f"{model}, {kind}, {name}")


def layers_of(results: Measurements, model: str) -> list[str]:
    """Returns the kinds of a model's layers."""
    row = cell(results, model, "technique", "baseline")
    return row["layers"] if row else []


def table_of(results: Measurements, kind: str) -> str:
    """Returns a table of models by techniques or storages: relative rms, or what stands instead."""
    lines = []
    models = models_of(results)
    for name in KINDS[kind]:
        cells = [f"`{name}`"]
        for model in models:
            row = cell(results, model, kind, name)
            wanted = expected(kind, name, layers_of(results, model))
            cells.append(_shown(row, wanted))
        lines.append(cells)
    headers = [kind, *models]
    rows = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _shown(row: Row | None, wanted: bool) -> str:
    if row is None:
        return ""
    if row["outcome"] == "works":
        return f"{row['relative_rms']:.0e}".replace("e-0", "e-").replace("0e+00", "0")
    return "**no**" if wanted else "-"


def counts(results: Measurements) -> str:
    """Returns how many cells work, as a table."""
    lines = []
    for kind, names in KINDS.items():
        found = [
            (row["outcome"], expected(kind, name, layers_of(results, model)))
            for model in models_of(results)
            for name in names
            for row in [cell(results, model, kind, name)]
            if row is not None
        ]
        wanted = [outcome for outcome, is_wanted in found if is_wanted]
        works = wanted.count("works")
        more = sum(outcome == "works" for outcome, is_wanted in found if not is_wanted)
        errors = sum(outcome not in ("works", "refused") for outcome, _ in found)
        share = f"{works / len(wanted):.1%}" if wanted else ""
        figures = (len(found), len(wanted), works, share, more, len(found) - works - more, errors)
        lines.append([f"{kind}s", *map(str, figures)])
    headers = ["models by", "cells", "expected", "of these work", "share", "others that work"]
    headers += ["refused", "tracebacks, crashes, too late"]
    rows = [headers, ["---"] * len(headers), *lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def reasons(results: Measurements, wanted: bool) -> str:
    """Returns what was said where something doesn't work, a line for each cell.

    Args:
        results: the rows.
        wanted: of the cells that a user would expect to work, or of the others.
    """
    lines = []
    for kind, names in KINDS.items():
        for name in names:
            said: dict[str, list[str]] = {}
            for model in models_of(results):
                row = cell(results, model, kind, name)
                if row is None or row["outcome"] == "works":
                    continue
                if expected(kind, name, layers_of(results, model)) == wanted:
                    said.setdefault(row["text"], []).append(model)
            lines += [
                f"- `{name}`, {', '.join(models)}: {_escaped(text)}"
                for text, models in said.items()
            ]
    return "\n".join(dict.fromkeys(lines)) or "None."


def _escaped(text: str) -> str:
    """Returns a text in which Markdown finds nothing."""
    return "".join(f"\\{sign}" if sign in "*_`[]<>" else sign for sign in text)


def titles(results: Measurements) -> str:
    """Returns the models, a line each."""
    from user_models import MODELS

    return "\n".join(
        f"- `{name}`: {MODELS[name].title}; between its first and last layer with weights "
        f"{', '.join(layers_of(results, name)) or 'none'}"
        for name in models_of(results)
    )


PARTS: dict[str, Callable[[Measurements], str]] = {
    "models": titles,
    "counts": counts,
    "techniques": lambda results: table_of(results, "technique"),
    "storages": lambda results: table_of(results, "storage"),
    "unexpected": lambda results: reasons(results, True),
    "others": lambda results: reasons(results, False),
}
