"""A program of a user's, which mypy checks with the package: what an editor knows of each call.

Nothing runs it. A wrong call is marked with the error that mypy must find there; a mark without an
error is one, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import numpy as np

import tfcompress
from tfcompress import ExportError, InputError, Metadata
from tfcompress.benchmark import FileBenchmark
from tfcompress.export import Exported, KerasFile, Validation
from tfcompress.runtime import LiteModel, Prediction, Predictor
from tfcompress.techniques import Technique


def models(data: object) -> None:
    """From a model to a smaller one."""
    model = tfcompress.models.build("vgg_small", (32, 32, 3), 10, width=0.25)
    tfcompress.transform(model, "cp", rank=8)
    compressed = tfcompress.compress(
        model,
        "svd+prune",
        data,
        validation_data=data,
        steps_per_epoch=10,
        class_weight={0: 1.0, 1: 2.0},
        callbacks=None,
        epochs=5,
    )
    prepared = tfcompress.prepare(compressed, "prune", end_step=2000)
    tfcompress.finish(prepared)
    assert_type(tfcompress.techniques.get("prune"), Technique)
    tfcompress.layers.BinaryConv2D(8, 3, strides=2)


def files(model: object, folder: Path, arrays: bool) -> None:
    """From a model to its files, and from these to figures and predictions."""
    x, y = np.zeros((200, 8, 8, 1), np.float32), np.zeros(200, np.int64)
    written = tfcompress.export(
        model,
        folder / "m.tflite",
        storage="int8",
        representative=x,
        validation=Validation(x, y, max_drop=1.0),
        metadata=Metadata(labels=("cat", "dog")),
    )
    assert_type(written, Exported)
    assert_type(tfcompress.export_keras(model, "m.keras"), KerasFile)
    assert_type(tfcompress.benchmark(written.path), list[FileBenchmark])
    assert_type(tfcompress.benchmark([written.path, folder], threads=(1, 2)), list[FileBenchmark])
    assert_type(tfcompress.load(written.path, arrays=True), LiteModel)
    assert_type(tfcompress.load(written.path), Predictor | LiteModel)
    assert_type(tfcompress.load(written.path, arrays=arrays), Predictor | LiteModel)
    classify = tfcompress.load(written.path, arrays=False)
    assert_type(classify, Predictor)
    assert_type(classify("photo.jpg"), tuple[Prediction, ...])
    assert_type(tfcompress.summary(model), str)


def wrong(model: object, data: object) -> None:
    """What an editor marks."""
    tfcompress.export(model)  # type: ignore[call-arg]
    tfcompress.export(model, None)  # type: ignore[arg-type]
    tfcompress.export(model, "m.tflite", "int8")  # type: ignore[call-arg]
    tfcompress.export(model, "m.tflite", metadata={"labels": []})  # type: ignore[arg-type]
    tfcompress.compress(model, "prune")  # type: ignore[call-arg]
    tfcompress.compress(model, "prune", data, class_weight=[1, 2])  # type: ignore[arg-type]
    tfcompress.benchmark(None)  # type: ignore[arg-type]
    tfcompress.load(None)  # type: ignore[call-overload]
    tfcompress.load("m.tflite", "x")  # type: ignore[call-overload]
    print(tfcompress.load("m.tflite", arrays=True).labels)  # type: ignore[attr-defined]
    tfcompress.compres(model, "prune", data)  # type: ignore[attr-defined]
    try:
        tfcompress.export(model, "m.tflite")
    except (InputError, ExportError) as error:
        assert_type(error, InputError | ExportError)
