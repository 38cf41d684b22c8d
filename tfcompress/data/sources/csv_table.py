"""Tables: a CSV file with named columns, one or more of which are to be predicted."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tfcompress.data.random_split import (
    check_split_options,
    random_split_sentence,
    split_groups,
)
from tfcompress.data.source import Request, Source
from tfcompress.data.table_like import unlabelled
from tfcompress.errors import InputError, require

if TYPE_CHECKING:
    import numpy as np

    from tfcompress.data.examples import Examples
    from tfcompress.data.table import Column, Layout

# A target of whole numbers is one of classes where it has no more than these.
_MOST_CLASSES = 20
# A column of more texts than these is a name or a remark; or one of a number that isn't read as
# such, where more than a few texts occur once or twice.
_MOST_WORDS = 200
_FEW_WORDS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class CsvOptions:
    """How a table is read, and what is predicted from what.

    Attributes:
        target: the column to predict; several of numbers with commas.
        task: `auto` takes a text, or up to 20 whole numbers that each occur twice, for classes.
        ignore: columns that are left out.
        keep: columns that are inputs though they look like row numbers (a different value in every
            row, and a name such as `id`) or have one value in all rows; others of these kinds are
            left out, and named.
        categorical: columns of numbers that are names, such as codes of places.
        text: what becomes of a column of text: an input of 0 or 1 for each text, or one input with
            the number of the text in alphabetical order.
        missing: what becomes of rows with empty cells: `refuse`; `drop` leaves them out; `fill`
            takes the mean of the training rows for a number, and none of the texts for a text.
        standardize: whether columns of numbers are brought to mean 0 and deviation 1 by the
            training rows; else the model gets them as they are.
        test_fraction: the share of the rows, of each class where there are classes, to judge by.
        split_seed: of the choice of these rows.
        delimiter: between cells, or `tab`; `auto` looks at the first line.
        decimal: the sign before the decimals of a number.
        encoding: of the file's text.
    """

    target: tuple[str, ...] = ()
    task: Literal["auto", "classification", "regression"] = "auto"
    ignore: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: Literal["one_hot", "codes"] = "one_hot"
    missing: Literal["refuse", "drop", "fill"] = "refuse"
    standardize: bool = True
    test_fraction: float = 0.2
    split_seed: int = 0
    delimiter: str = "auto"
    decimal: str = "."
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        """Refuses what no table can be read with."""
        check_split_options(self.test_fraction, self.split_seed)
        for name, mark in (("delimiter", self._mark), ("decimal", self.decimal)):
            require(
                not mark or (len(mark) == 1 and mark not in '"\r\n'),
                f"{name} must be one character; got '{mark[:40]}'",
            )
        require(bool(self.decimal), "decimal must be one character; got ''")

    @property
    def _mark(self) -> str:
        return {"auto": "", "tab": "\t"}.get(self.delimiter, self.delimiter)

    def layout(self) -> Layout:
        """Returns how the file's text is to be read."""
        from tfcompress.data.table import Layout

        return Layout(delimiter=self._mark, decimal=self.decimal, encoding=self.encoding)


def check(request: Request) -> None:
    """Refuses a request whose file isn't there."""
    from tfcompress.data.table import existing_file

    existing_file(request.path, "a CSV file")


def load(request: Request) -> Examples:
    """Reads a table, splits its rows at random, and makes inputs and targets of its columns.

    Args:
        request: its path is the file; its options are `CsvOptions`.

    Returns:
        Inputs float32 (rows, inputs), the columns in the file's order; targets int32 (rows,),
        where they are classes, or float32 (rows, targets).

    Raises:
        InputError: names the file, and the line or column that can't be used.
    """
    from tfcompress.data.table import existing_file, read_header, read_table

    options: CsvOptions = request.options
    file = existing_file(request.path, "a CSV file")
    layout = options.layout()
    _check_names(file, read_header(file, layout), options)
    table = read_table(file, layout, ignore=options.ignore, as_text=options.categorical)
    table = _without_missing(file, table, options)
    targets = [column for column in table if column.name in options.target]
    inputs = [column for column in table if column.name not in options.target]
    targets.sort(key=lambda column: options.target.index(column.name))
    are_classes = _are_classes(file, targets, options.task)
    inputs, left_out = _without_row_numbers(file, inputs, options)
    if are_classes:
        examples = _classification(request, file, inputs, targets[0])
    else:
        examples = _regression(request, file, inputs, targets)
    return dataclasses.replace(examples, details=examples.details + left_out)


def _check_names(file: Path, names: Sequence[str], options: CsvOptions) -> None:
    """Refuses options that name columns which aren't there."""
    listed = ", ".join(names[:20]) + ", ..." * (len(names) > 20)
    require(
        bool(options.target),
        f"{file}: say which column is to be predicted, as in --set target={names[-1]}; its columns "
        f"are {listed}",
    )
    for option in ("target", "ignore", "keep", "categorical"):
        for name in getattr(options, option):
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            require(
                name in names,
                f"{file} has no column '{name[:80]}', which {option} names: {hint}Its columns are "
                f"{listed}",
            )
    both = set(options.target) & set(options.ignore)
    require(not both, f"the target '{min(both, default='')}' can't be ignored")
    both = set(options.keep) & set(options.ignore)
    require(not both, f"keep and ignore both name the column '{min(both, default='')}'")
    left = set(names) - set(options.target) - set(options.ignore)
    require(bool(left), f"{file} has no columns left to predict from")


def _without_row_numbers(
    file: Path, inputs: list[Column], options: CsvOptions
) -> tuple[list[Column], str]:
    """Leaves out inputs from which nothing can be learned.

    Returns:
        The others, and words for those that are left out: empty if none is.

    Raises:
        InputError: none is left.
    """
    from tfcompress.data.table import why_no_input

    reasons = {
        column.name: why_no_input(column) for column in inputs if column.name not in options.keep
    }
    left_out = {name: reason for name, reason in reasons.items() if reason}
    words = ", ".join(f"'{name}' ({reason})" for name, reason in left_out.items())
    kept = [column for column in inputs if column.name not in left_out]
    require(
        bool(kept),
        f"{file} has no columns left to predict from: {words} tell nothing; --set "
        f"keep={','.join(left_out)} takes them all the same",
    )
    return kept, f"; left out: {words}" if words else ""


def _without_missing(file: Path, table: list[Column], options: CsvOptions) -> list[Column]:
    """Refuses or drops rows with empty cells, as the options have it."""
    import numpy as np

    if options.missing == "drop":
        whole = ~np.logical_or.reduce([column.missing for column in table])
        require(bool(whole.any()), f"{file} has an empty cell in every row: none are left")
        return [column.at(np.flatnonzero(whole)) for column in table]
    for column in table:
        target = column.name in options.target
        require(
            not column.first_missing or (options.missing == "fill" and not target),
            f"{file} line {column.first_missing}, column '{column.name}': the cell is empty; mend "
            "it, or leave such rows out, --set missing=drop"
            + ("" if target else ", or fill them, --set missing=fill"),
        )
    return table


def _are_classes(file: Path, targets: list[Column], task: str) -> bool:
    """Says whether the target's values are classes.

    Raises:
        InputError: it has one value only, or is of text where numbers are needed.
    """
    import numpy as np

    for column in targets:
        require(
            len(np.unique(column.values)) > 1,
            f"{file}: the target '{column.name}' has one value in all "
            f"{len(column.values):,} rows: there is nothing to learn",
        )
        require(
            column.words is None or (len(targets) == 1 and task != "regression"),
            f"{file}: the target '{column.name}' is text (such as "
            f"'{(column.words or ('',))[0][:40]}'), and "
            + (
                "several targets must be numbers"
                if len(targets) > 1
                else "regression is of numbers"
            ),
        )
    if len(targets) > 1:
        require(task != "classification", "several targets are predicted as numbers; name one")
        return False
    if task != "auto":
        return task == "classification"
    values, counts = np.unique(targets[0].values, return_counts=True)
    if targets[0].words is not None:
        return True
    whole = bool(np.all(values == np.rint(values)))
    return whole and len(values) <= _MOST_CLASSES and counts.min() >= 2


def _classification(request: Request, file: Path, inputs: list[Column], target: Column) -> Examples:
    """Makes examples whose targets are classes."""
    import numpy as np

    from tfcompress.data.dataset import stratified_split

    options: CsvOptions = request.options
    values, labels = np.unique(target.values, return_inverse=True)
    names = [f"{value:g}" if target.words is None else target.words[int(value)] for value in values]
    try:
        rows = stratified_split(labels, options.test_fraction, options.split_seed, names, "row")
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return _examples(
        request,
        file,
        inputs,
        labels.astype(np.int32),
        rows,
        class_names=tuple(names),
        split=random_split_sentence(options.test_fraction, options.split_seed),
        details=f"target {target.name} of {len(names)} classes",
    )


def _regression(
    request: Request, file: Path, inputs: list[Column], targets: list[Column]
) -> Examples:
    """Makes examples whose targets are numbers."""
    import numpy as np

    options: CsvOptions = request.options
    values = np.stack([column.values for column in targets], axis=1)
    count = len(values)
    require(count >= 2, f"{file} has 1 row: to split off rows to judge by it needs 2 or more")
    rows = split_groups([np.arange(count)], options.test_fraction, options.split_seed)
    train = values[rows[0]]
    return _examples(
        request,
        file,
        inputs,
        values.astype(np.float32),
        rows,
        split=random_split_sentence(options.test_fraction, options.split_seed, by_class=False),
        details=f"target {', '.join(column.name for column in targets)}",
        model_options={
            "output_mean": tuple(map(float, train.mean(0))),
            "output_std": tuple(map(_deviation, train.T)),
        },
    )


def _examples(
    request: Request,
    file: Path,
    inputs: list[Column],
    targets: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    *,
    details: str,
    **description: Any,
) -> Examples:
    """Puts a table's inputs and targets together, split."""
    from tfcompress.data.examples import Examples
    from tfcompress.data.protocol import Batch

    x, preparation = _inputs(file, inputs, rows[0], request.options)
    train, test = (Batch(x[part], targets[part]) for part in rows)
    width = f" as {x.shape[1]} inputs" if x.shape[1] != len(inputs) else ""
    return Examples(
        train=train,
        test=test,
        name=request.name,
        source=str(file),
        units="rows",
        details=f"{len(inputs)} column{'s' * (len(inputs) != 1)}{width}, {details}",
        preparation={"columns": preparation},
        **description,
    )


def _inputs(
    file: Path, columns: list[Column], train: np.ndarray, options: CsvOptions
) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Makes the inputs float32 (rows, inputs) of columns; and says of each how it was made."""
    import numpy as np

    from tfcompress.images import MEMORY_BUDGET_BYTES

    one_hot = options.text == "one_hot"
    widths = [len(column.words) if column.words and one_hot else 1 for column in columns]
    for column, width in zip(columns, widths, strict=True):
        require(
            width <= _MOST_WORDS and (width <= _FEW_WORDS or 2 * width <= len(column.values)),
            f"{file}: column '{column.name}' has {width:,} different texts in "
            f"{len(column.values):,} rows, such as "
            f"'{(column.words or ('',))[0][:40]}': leave it out, --set ignore=..., or take each "
            "as a number, --set text=codes",
        )
    count = len(columns[0].values)
    require(
        4 * count * sum(widths) <= MEMORY_BUDGET_BYTES,
        f"{file}: {count:,} rows of {sum(widths):,} inputs take more than "
        f"{MEMORY_BUDGET_BYTES >> 20:,} MiB: give fewer rows, or --set text=codes",
    )
    x = np.zeros((count, sum(widths)), np.float32)
    preparation: list[dict[str, Any]] = []
    at = 0
    for column, width in zip(columns, widths, strict=True):
        if column.words is not None and one_hot:
            present = np.flatnonzero(column.values >= 0)
            x[present, at + column.values[present]] = 1
            preparation.append({"name": column.name, "one_hot": list(column.words)})
        else:
            x[:, at], how = _as_number(column, train, options.standardize)
            preparation.append({"name": column.name, **how})
        at += width
    return x, preparation


def _as_number(
    column: Column, train: np.ndarray, standardize: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Returns a column as numbers, empty cells filled, and how it was made."""
    import numpy as np

    values = column.values.astype(np.float64)
    how: dict[str, Any] = {} if column.words is None else {"codes": list(column.words)}
    if column.words is None and column.missing.any():
        present = values[train][~column.missing[train]]
        how["fill"] = float(present.mean()) if len(present) else 0.0
        values = np.where(column.missing, how["fill"], values)
    if standardize:
        how["mean"] = float(values[train].mean())
        how["std"] = _deviation(values[train])
        values = (values - how["mean"]) / how["std"]
    return values.astype(np.float32), how


def _deviation(values: np.ndarray) -> float:
    """Returns the standard deviation of some values, or 1 where they are all alike."""
    deviation = float(values.std())
    # What rounding leaves of equal values.
    return deviation if deviation > 1e-9 * float(abs(values).max()) else 1.0


SOURCE = Source(
    pattern="csv:PATH",
    summary="a table with named columns; --set target=COLUMN",
    example="csv:houses.csv --set target=price",
    local=True,
    check=check,
    load=load,
    options=CsvOptions,
    unlabelled=unlabelled,
    model="mlp",
)
