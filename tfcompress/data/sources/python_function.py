"""Data that a function of the user's own returns."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfcompress.data.source import Request, Source
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.plain_text import first_line

if TYPE_CHECKING:
    from types import ModuleType

    from tfcompress.data.dataset import Dataset
    from tfcompress.data.examples import Examples
    from tfcompress.data.pipelines import Stream

# A path, and a function's name behind a colon; Windows has a colon in its paths, too.
_NAME = re.compile(r"(?P<file>.+\.py)(:(?P<function>[^:]*))?", re.S)
# Of a tf.data pipeline that yields one example at a time.
_BATCH_SIZE = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class FunctionOptions:
    """What the data don't say of themselves.

    Attributes:
        class_names: of the targets 0, 1, 2, ...; empty for these numbers.
        steps_per_epoch: batches of an epoch; a generator needs it, and a pipeline without end.
        validation_steps: likewise of the data to judge by.
    """

    class_names: tuple[str, ...] = ()
    steps_per_epoch: int | None = None
    validation_steps: int | None = None


def takes(name: str) -> bool:
    """Says whether a data set's name is that of a Python file and perhaps of its function."""
    return _NAME.fullmatch(name) is not None


def _parts(name: str) -> tuple[Path, str]:
    """Returns the file and the function of a name.

    Raises:
        InputError: there is no such file, or no function is named.
    """
    from tfcompress.data.table import existing_file

    match = _NAME.fullmatch(name)
    assert match is not None
    function = match["function"] or ""
    file = existing_file(match["file"], "a Python file")
    require(bool(function), f"'{name}' lacks its function, as in {file.name}:load")
    return file, function


def check(request: Request) -> None:
    """Refuses a request whose file isn't there, is no Python, or hasn't such a function.

    The file is read, but not run.
    """
    file, function = _parts(request.name)
    try:
        tree = ast.parse(file.read_bytes(), str(file))
    except (SyntaxError, ValueError, OSError) as error:
        line = getattr(error, "lineno", None)
        where = f" line {line}" if line else ""
        raise InputError(f"{file}{where} is no Python: {first_line(error)}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
    if function not in names and "*" not in names:
        defined = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        raise unknown_name(f"function of {file}:", function, defined)


def load(request: Request) -> Dataset | Examples | Stream:
    """Calls the user's function without arguments, and reads what it returns as `fit` would.

    It returns `(x, y)` or `(x, y, sample_weight)` of arrays, of which a fifth is held out; a pair
    of such tuples, to train on and to judge by; a tf.data pipeline, a `PyDataset`, a `DataLoader`
    or a function that makes a generator, or a pair of these; or a `tfcompress.data.Dataset`.
    Several inputs or targets are dicts by their names.

    Args:
        request: its name is `FILE.py:FUNCTION`; its options are `FunctionOptions`.

    Raises:
        InputError: the user's code fails, with the line of it, or returns something else.
    """
    from tfcompress.data.dataset import Dataset
    from tfcompress.data.pipelines import Stream

    file, function = _parts(request.name)
    options: FunctionOptions = request.options
    module = _imported(file)
    call = getattr(module, function, None)
    if not callable(call):
        defined = [
            name
            for name, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__
        ]
        raise unknown_name(f"function of {file}:", function, defined)
    with _users(file):
        returned = call()
    try:
        data = _read(returned, options)
    except InputError as error:
        raise InputError(f"what {file.name}:{function} returns: {error}") from error
    if isinstance(data, Dataset):
        return data
    if isinstance(data, Stream):
        for batches in (data.train, data.test):
            if batches is not None:
                batches.guard = functools.partial(_users, file)
    described: dict[str, Any] = {"source": str(file)}
    if options.class_names:
        described["class_names"] = options.class_names
    if not data.split:
        described["split"] = f"As {file.name}:{function} returns them."
    return dataclasses.replace(data, **described)


def _imported(file: Path) -> ModuleType:
    """Runs a file as a module; others of its folder can be imported by it.

    It gets its file's name, so that other processes find it, unless a module has that already.
    """
    name = file.stem if file.stem not in sys.modules else f"{file.stem}_of_data"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module
    loader = spec.loader
    with _users(file):
        loader.exec_module(module)
    return module


@contextlib.contextmanager
def _users(file: Path) -> Iterator[None]:
    """Runs code of the user's, whose errors become one line with its place in the file."""
    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if Path(frame.filename) == file
        ]
        where = f" line {lines[-1]}" if lines else ""
        raise InputError(f"{file}{where}: {type(error).__name__}: {first_line(error)}") from error


def _read(returned: Any, options: FunctionOptions) -> Dataset | Examples | Stream:
    """Reads what a user's function returned: data, or a tuple of data and others to judge by."""
    from tfcompress.data.as_fit import as_fit
    from tfcompress.data.pipelines import is_stream

    train, test = returned, None
    if isinstance(returned, tuple) and len(returned) == 2:
        pair = all(isinstance(part, tuple) and len(part) in (2, 3) for part in returned)
        if pair or is_stream(returned[0]):
            train, test = returned
    # What fit takes as several arrays, of x as of y, is a tuple.
    parts = train if isinstance(train, tuple) and len(train) in (1, 2, 3) else (train,)
    counts = [len(part) if isinstance(part, tuple) else 1 for part in (*parts, None)]
    return as_fit(
        _batched(train),
        _batched(test),
        inputs=counts[0],
        outputs=counts[1],
        steps_per_epoch=options.steps_per_epoch,
        validation_steps=options.validation_steps,
    )


def _batched(data: Any) -> Any:
    """Returns a tf.data pipeline of single examples in batches: their targets have no axis."""
    spec = getattr(data, "element_spec", None)
    if not (isinstance(spec, tuple) and len(spec) > 1 and hasattr(data, "as_numpy_iterator")):
        return data
    shape = getattr(spec[1], "shape", None)
    return data.batch(_BATCH_SIZE) if shape is not None and shape.rank == 0 else data


SOURCE = Source(
    pattern="module.py:function",
    summary="what a function of your own returns, as fit takes it; runs your code",
    example="my_data.py:load --model=my.keras",
    local=True,
    check=check,
    load=load,
    options=FunctionOptions,
    takes=takes,
    runs_code=True,
)
