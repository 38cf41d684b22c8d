"""Measures what share of a network's file another network's file takes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import keras

from tfcompress import files
from tfcompress.bounded_json import read_json

if TYPE_CHECKING:
    from tfcompress.techniques.base import Measured
    from tfcompress.tflite.metadata import Metadata

# Of a measurement, which is one of several: the search ends in seconds, or minutes with large nets.
_SECONDS = 20.0


class FileRatios:
    """Compares the float32 files of two networks, trained or not, by their bytes or latency.

    Args:
        metadata: that the run's files will have.
        memory: a file in which what was measured is kept, so that a run that goes on after it was
            stopped chooses what it chose before; None keeps it in this object.
    """

    def __init__(self, *, metadata: Metadata | None = None, memory: Path | None = None) -> None:
        self._metadata, self._memory = metadata, memory
        self._known: dict[str, float] = {}
        if memory is not None and memory.exists():
            with contextlib.suppress(ValueError):  # A damaged one is as good as none.
                self._known = {key: float(value) for key, value in read_json(memory).items()}
        # The last whole network, and its file: a search compares many with it.
        self._whole: keras.Model | None = None
        self._folder: Path | None = None

    def __call__(self, whole: keras.Model, small: keras.Model, of: Measured) -> float:
        """Returns the share of the whole network's bytes or time that the smaller one's file takes.

        Args:
            whole: what the other one is divided by.
            small: the other one.
            of: `size`, or `latency` by LiteRT on one thread of the CPU, taken in turns.

        Raises:
            InputError: a network can't be written as a file.
            ExportError: likewise.
            BenchmarkError: a file doesn't run.
        """
        key = _key(whole, small, of)
        if key not in self._known:
            self._known[key] = self._measured(whole, small, of)
            if self._memory is not None:
                files.write(self._memory, json.dumps(self._known))
        return self._known[key]

    def _measured(self, whole: keras.Model, small: keras.Model, of: Measured) -> float:
        """Writes the files and measures them."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="tfcompress_"))
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        paths = [self._folder / f"{name}.tflite" for name in ("whole", "small")]
        if self._whole is not whole:
            self._write(whole, paths[0])
            self._whole = whole
        self._write(small, paths[1])
        if of == "size":
            return paths[1].stat().st_size / paths[0].stat().st_size
        from tfcompress.benchmark.latency import latency

        ratio = latency(paths, max_seconds=_SECONDS)[1].ratio
        assert ratio is not None  # The two were timed together.
        return ratio

    def _write(self, model: keras.Model, path: Path) -> None:
        from tfcompress.export import export

        with files.quiet():
            export(model, path, metadata=self._metadata)


def _key(whole: keras.Model, small: keras.Model, of: Measured) -> str:
    """Returns a name for the two networks' shapes and what is measured."""
    shapes = [[list(weight.shape) for weight in model.weights] for model in (whole, small)]
    return hashlib.sha256(json.dumps([of, *shapes]).encode()).hexdigest()
