"""Seventeen models of users by every technique and every storage: what works, and what doesn't.

Run:

    .venv/bin/python experiments/any_model.py --output=build/any_model

Some hours on two cores; `--models=lstm,tabular` takes some of them. A technique that acts while the
network is trained gets one epoch of 16 examples: whether it runs and is written truly is asked
here, not how accurate it is. Each model has a process of its own, which a cell that crashes or
takes longer than 15 minutes ends. TensorFlow's oneDNN is off there: it corrupts its heap in the
gradient of 1x1 convolutions with strides, which Xception's residual branches are.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import re
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measurements import Measurements, Row, Step, conduct, made_here, parser, single
from page import Page

from tfcompress import techniques
from tfcompress.errors import ExportError, InputError
from tfcompress.export import storages

EXAMPLES, BATCH = 16, 8
SECONDS = 900
# The technique whose result a storage is for; the others write the model itself.
MADE_BY = {
    **{"1bit": "bwn", "int2": "bwn", "sparse": "prune"},
    **{"xnor": "xnor", "xnor+int8": "xnor", "lce": "xnor"},
}
# Fewer sweeps than by default, where they take most of the time; and floats, where `qat` would
# ask whether layers that it can't round may keep them.
OPTIONS: dict[str, dict[str, Any]] = {
    "cp": {"iterations": 5},
    "qat": {"on_unsupported": "keep_float"},
}
TECHNIQUE, STORAGE = "technique", "storage"


def key_of(model: str, kind: str, name: str) -> str:
    """Returns the key of a cell's row, such as `lstm, technique, prune`."""
    return f"{model}, {kind}, {name}"


def cells() -> list[tuple[str, str]]:
    """Returns the cells of a model, in the order in which they are measured."""
    return [
        *((TECHNIQUE, name) for name in techniques.names()),
        *((STORAGE, name) for name in storages.names()),
    ]


class Cells:
    """Measures the cells of one model, in the process in which it is made.

    Args:
        model: its name in `user_models.MODELS`.
        folder: where it is kept with its data, and what techniques made of it.
    """

    def __init__(self, model: str, folder: Path) -> None:
        import keras
        from user_models import MODELS

        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.folder = model, folder
        data = folder / "examples.pickle"
        if not data.exists():
            network, examples = MODELS[model].make()
            network.save(folder / "float.keras")
            data.write_bytes(pickle.dumps(examples))
        self.model = keras.saving.load_model(folder / "float.keras")
        self.examples = pickle.loads(data.read_bytes())
        self.files: dict[tuple[str, str], Row] = {}

    def measured(self, kind: str, name: str) -> Row:
        """Returns how one cell ended."""
        started = time.monotonic()
        try:
            row = self.by_technique(name) if kind == TECHNIQUE else self.by_storage(name)
        except (InputError, ExportError) as error:
            row = {"outcome": "refused", "text": without_paths(str(error))}
        except Exception as error:
            text = without_paths(f"{type(error).__name__}: {error}".splitlines()[0])
            where = traceback.extract_tb(error.__traceback__)[-1]
            row = {"outcome": "traceback", "text": f"{text} ({where.name})"}
            traceback.print_exc()
        return {**row, "seconds": round(time.monotonic() - started, 1)}

    def by_technique(self, name: str) -> Row:
        """Applies a technique, and writes what comes of it as the technique says."""
        row = self.written(name, techniques.get(name).storage)
        return {**row, "layers": inner_kinds(self.model)} if name == "baseline" else row

    def by_storage(self, name: str) -> Row:
        """Writes the model, or what the technique made of it that the storage is for."""
        return self.written(MADE_BY.get(name, "baseline"), name)

    def compressed(self, name: str) -> Any:
        """Returns what a technique makes of the model, as it comes back from a `.keras` file."""
        import keras

        path = self.folder / f"{name}.keras"
        if name == "baseline":
            return self.model
        if path.exists():
            return keras.saving.load_model(path)
        model = made_by(self.model, name, self.examples)
        model.save(path)
        return keras.saving.load_model(path)

    def written(self, name: str, storage: str) -> Row:
        """Returns how a file compares with Keras; techniques that act in export share one.

        Args:
            name: of the technique whose result is written.
            storage: how it is written.
        """
        if techniques.get(name).acts_in == "export":
            name = "baseline"
        key = (name, storage)
        if key not in self.files:
            self.files[key] = self.compared(self.compressed(name), storage)
        return self.files[key]

    def compared(self, model: Any, storage: str) -> Row:
        """Writes a file and compares what `tfcompress.load` makes of it with Keras."""
        import keras
        import numpy as np

        import tfcompress
        from tfcompress.ops.differences import relative_rms

        x = self.examples.x
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tflite"
            exported = tfcompress.export(
                model, path, storage=storage, representative=x, io="float32"
            )
            outputs = tfcompress.load(path, arrays=True).predict(x)
        # By Keras's order, which the file's names have, too.
        values = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
        right = keras.tree.flatten(model.predict(x, verbose=0))
        rms = max(
            relative_rms(np.asarray(expected, "float32"), got)
            for expected, got in zip(right, values, strict=True)
        )
        return {
            "outcome": "works",
            "relative_rms": float(f"{rms:.2g}"),
            "agreement": exported.parity.agreement,
            "size_bytes": exported.size_bytes,
            "kept": len(exported.kept),
        }


def made_by(model: Any, name: str, examples: Any) -> Any:
    """Returns what a technique makes of a model; one that acts in training gets an epoch.

    Args:
        model: of Keras.
        name: of the technique.
        examples: of which the first ones are trained on.
    """
    import tfcompress

    options = OPTIONS.get(name, {})
    if techniques.get(name).acts_in == "transform":
        return tfcompress.transform(model, name, **options)
    few = examples.first(EXAMPLES)
    return tfcompress.compress(
        model,
        name,
        (few.x, few.y),
        validation_data=(few.x, few.y),
        epochs=1,
        batch_size=BATCH,
        verbose=False,
        **options,
    )


def inner_kinds(model: Any) -> list[str]:
    """Returns the kinds of layers between a model's first and last one with weights."""
    from tfcompress.graph.nodes import functional, operations

    norms = ("BatchNormalization", "LayerNormalization", "Normalization")
    kinds = []
    for layer in operations(functional(model)):
        kind = type(layer).__name__
        if getattr(layer, "weights", None) and kind not in norms:
            single_tap = set(getattr(layer, "kernel_size", (0,))) == {1}
            kinds.append(f"{kind} {'x'.join('1' * len(layer.kernel_size))}" if single_tap else kind)
    return sorted(set(kinds[1:-1]))


def without_paths(text: str) -> str:
    """Returns a text without the folders of this machine."""
    return re.sub(r"(?<![\w.])/[\w.+/-]+/", "", text)


class Worker:
    """A process that measures one model's cells, begun anew for another model and after a crash.

    Args:
        folder: of the models.
        cells: makes what measures them, of a model's name and a folder for it, in that process.
    """

    def __init__(self, folder: Path, cells: Callable[[str, Path], Any]) -> None:
        self.folder, self.cells, self.model = folder, cells, ""
        self.process: Any = None

    def measured(self, model: str, *cell: Any) -> Row:
        """Returns how one cell ended, be it in a crash or too late.

        Args:
            model: its name.
            cell: what `measured` of `cells` takes.
        """
        if self.model != model or self.process is None:
            self.start(model)
        started = time.monotonic()
        self.pipe.send(cell)
        try:
            if self.pipe.poll(SECONDS):
                return self.pipe.recv()
            outcome, text = "late", f"not done after {SECONDS} s"
        except (EOFError, ConnectionError):
            self.process.join()
            outcome, text = "crash", f"the process ended with {self.process.exitcode}"
        self.stop()
        return {"outcome": outcome, "text": text, "seconds": round(time.monotonic() - started, 1)}

    def start(self, model: str) -> None:
        """Begins a process for a model."""
        self.stop()
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        arguments = (end, self.cells, model, self.folder / model)
        self.process = context.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        self.model = model
        end.close()

    def stop(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def serve(pipe: Any, cells: Callable[[str, Path], Any], model: str, folder: Path) -> None:
    """Measures the cells that are asked for, until nobody asks any more."""
    os.nice(2)
    warnings.simplefilter("ignore")
    own = cells(model, folder)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(own.measured(*pipe.recv()))


def page_of(results: Measurements) -> Page:
    rows: list[tuple[list[str], list[str]]] = []
    for key, row in results.rows.items():
        model, kind, name = key.split(", ")
        figure = f"{row['relative_rms']:.2g}" if row["outcome"] == "works" else row["outcome"]
        text = row.get("text", "").replace("|", "\\|").replace("\n", " ")
        rows.append(([model, kind, f"`{name}`", figure, text], [key]))
    return Page(
        "Models by techniques and storages",
        "Each file against the Keras model that it was made of: rms of the differences by rms of "
        "the outputs, of the output that differs most, on 120 examples; or what was said instead. "
        "Storages for binary weights and zeros write what `bwn`, `xnor` and `prune` made of the "
        "model; `qat` is given `on_unsupported=keep_float`.",
        ["model", "by", "name", "relative rms", "or why not"],
        rows,
    )


def steps(models: Iterable[str], worker: Worker, wanted: set[str]) -> list[Step]:
    """Returns a step for each cell."""
    return [
        single(key_of(model, kind, name), worker.measured, model, kind, name)
        for model in models
        for kind, name in cells()
        if not wanted or name in wanted
    ]


def main() -> None:
    from user_models import MODELS

    flags = parser(__doc__)
    flags.add_argument("--models", default=",".join(MODELS), help="some of them, with commas")
    flags.add_argument("--only", default="", help="techniques and storages, with commas")
    flags.add_argument("--work", type=Path, default=Path("build/any_model_work"), help="models")
    flags = flags.parse_args()
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
    wanted = {name for name in flags.only.split(",") if name}
    worker = Worker(flags.work, Cells)
    try:
        conduct(
            flags,
            steps(flags.models.split(","), worker, wanted),
            page_of,
            settings={"examples": EXAMPLES, "batch": BATCH},
            made=lambda: made_here(work="DIR", output="DIR", models="SOME", only="SOME"),
        )
    finally:
        worker.stop()


if __name__ == "__main__":
    main()
