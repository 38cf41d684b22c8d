"""Judges `.tflite` files on held-out data, without the Keras models that they came from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from tfcompress import data
from tfcompress.data.dataset import Dataset
from tfcompress.errors import InputError, require
from tfcompress.files import quiet
from tfcompress.metric import Metric
from tfcompress.ops.differences import relative_rms
from tfcompress.options import typed_options
from tfcompress.runtime import LiteModel
from tfcompress.runtime.predictor import gives_probabilities
from tfcompress.tflite import content
from tfcompress.training.judging import judge_of
from tfcompress.training.objective import inferred_objective


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgedFile:
    """What a file is worth on held-out examples.

    Attributes:
        metric: by which it is judged.
        value: the metric's.
        relative_rms: the rms of its outputs' differences from the first file's as a share of
            theirs, of the output where that is largest.
        examples: how many there were.
    """

    metric: Metric
    value: float
    relative_rms: float
    examples: int


def judge_files(
    paths: Sequence[str],
    dataset: str,
    *,
    metric: str | None = None,
    options: Mapping[str, str] | None = None,
) -> list[JudgedFile]:
    """Judges files on the held-out examples of a data set.

    Args:
        paths: of the files; the others are compared with the first one.
        dataset: as the command's `--dataset` takes it, of other data than images with classes.
        metric: as its `--metric` takes it; None for what fits the targets.
        options: as its `--set` takes them, of the data set.

    Raises:
        InputError: the data set isn't there, the files don't take it, or the metric isn't known.
    """
    kind = data.options_type(dataset)
    with quiet():
        loaded = data.load(
            dataset, options=typed_options(kind, options or {}) if kind is not None else {}
        )
    if isinstance(loaded, Dataset):
        raise InputError(
            f"--dataset is for other data than images with classes, as {dataset} are: give "
            "--images=FOLDER"
        )
    batches = list(loaded.test_batches(256))
    require(bool(batches), f"{loaded.name} has no held-out examples to judge by")
    judge, expected = None, None
    judged = []
    for path in paths:
        model = LiteModel(path)
        parts = [model.run(model.rows(batch.x)) for batch in batches]
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        if judge is None or expected is None:
            stand_in = _stand_in(path, model)
            goal, wanted = inferred_objective(stand_in, loaded), metric or loaded.metric
            judge, expected = judge_of(stand_in, loaded, goal, wanted, outputs=parts[0]), outputs
        require(
            [y.shape for y in outputs] == [y.shape for y in expected],
            f"{path} gives outputs of other shapes than {paths[0]}",
        )
        found = judge.judge(zip(parts, batches, strict=True))
        pairs = zip(expected, outputs, strict=True)
        judged.append(
            JudgedFile(
                metric=judge.metric,
                value=found.value,
                relative_rms=max(relative_rms(*pair) for pair in pairs),
                examples=found.examples,
            )
        )
    return judged


def _stand_in(path: str, model: LiteModel) -> keras.Model:
    """Returns a Keras model with a file's outputs, by which their targets are understood.

    It computes nothing; its end says whether the only output is probabilities.
    """
    probable = len(model.outputs) == 1 and gives_probabilities(content.read(path))
    inputs, outputs = [], {}
    for end in model.outputs:
        given = keras.Input(end.sizes[1:], dtype="float32")
        inputs.append(given)
        layer = keras.layers.Identity()
        if probable:
            several = bool(end.sizes[1:]) and end.sizes[-1] != 1
            layer = keras.layers.Activation("softmax" if several else "sigmoid")
        outputs[end.name] = layer(given)
    one = next(iter(outputs.values()))
    return keras.Model(inputs, outputs if len(outputs) > 1 else one)
