"""Trains a tf_keras model as `training.fit` trains a Keras 3 one, from the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.bridge.legacy import tf_keras
from tfcompress.bridge.tf_graph import all_layers
from tfcompress.config import Distillation, Training
from tfcompress.data.protocol import Data
from tfcompress.errors import require
from tfcompress.training import accuracy, runner
from tfcompress.training.context import DEFAULT_CONTEXT, TrainingContext
from tfcompress.training.distill.losses import divergence
from tfcompress.training.distill.plain import beyond_kd
from tfcompress.training.fit import fit_epoch
from tfcompress.training.loop import Row, Trainee, Watch, epochs, steps_per_epoch
from tfcompress.training.objective import class_numbers
from tfcompress.training.optimizers import make_optimizer
from tfcompress.training.outputs import as_logits, ends_in_softmax
from tfcompress.training.teacher import kept_outputs
from tfcompress.training.unit_strides import unit_strides

_RANDOM = ("Dropout", "SpatialDropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")


def fit(
    model: Any,
    data: Data,
    training: Training,
    context: TrainingContext = DEFAULT_CONTEXT,
    *,
    softmax: bool = False,
    callbacks: Sequence[Any] = (),
) -> list[Row]:
    """Trains a tf_keras model in place, as `training.fit` trains a Keras 3 one.

    Args:
        model: of tf_keras, from images to class logits or probabilities.
        data: as in `training.fit`.
        training: epochs, optimizer and rates.
        context: as in `training.fit`; its teacher is a model of Keras 3.
        softmax: whether the model ends in probabilities.
        callbacks: tf_keras's, such as those of the pruning wrappers.

    Returns:
        One row an epoch.

    Raises:
        TrainingError: the loss or a weight is no finite number any more.
        InputError: the checkpoint is damaged, of another model, or of more epochs.
        Stopped: Ctrl-C.
    """
    if training.epochs == 0:
        return []
    check_can_train(context, training)
    legacy = tf_keras()
    legacy.utils.set_random_seed(context.seed)
    optimizer = make_optimizer(training, steps_per_epoch(data, training), legacy.optimizers)
    optimizer.build(model.trainable_variables)
    teacher = context.teacher if training.distillation and training.distillation.weight else None
    kept = kept_outputs(teacher, data, training, context.augmentation or data.augmentation)
    objective = _Objective(training, softmax, teacher)
    # Made here, since TensorFlow traces a step twice that makes variables, as a metric's.
    accuracies = legacy.metrics.MeanMetricWrapper(objective.accuracy, name="accuracy")
    model.compile(optimizer=optimizer, loss=objective.loss, metrics=[accuracies], jit_compile=False)

    def train_epoch(batches: Any, epoch: int, watch: Watch) -> dict[str, float]:
        _seed_epoch(model, context.seed + 1000 * epoch)
        watching = watch.callback(legacy.callbacks.Callback)
        every = [*callbacks, watching, *_tensorboard(context.tensorboard)]
        logs = fit_epoch(model, _sequence(batches, objective, kept is not None), epoch, every)
        values = {"loss": logs["loss"], "train_error": 1 - logs["accuracy"]}
        if data.test is not None:
            values["test_error"] = 1 - accuracy(model, data)
        return values

    with unit_strides(all_layers(model)):
        return epochs(
            Trainee(
                fit=train_epoch,
                state=[*model.variables, *optimizer.variables],
                weights=model.weights,
                learning_rate=lambda: _learning_rate(optimizer),
                teacher_outputs=kept,
            ),
            data,
            training,
            context,
        )


def check_can_train(context: TrainingContext, training: Training) -> None:
    """Refuses what can't be trained in Keras 2.

    Raises:
        InputError: other targets than one class an example, Keras 3's callbacks, another loss of
            the teacher than `kd`, or several devices.
    """
    goal = context.objective
    reason = beyond_kd(training, context)
    require(
        reason is None,
        "this technique trains by TFMOT in Keras 2, which learns from a teacher by the loss kd "
        f"alone, and {reason}: use engine=keras, or leave it out",
    )
    require(
        context.devices == 1,
        "this technique trains by TFMOT in Keras 2, which trains on one device here: use "
        "engine=keras, or leave devices out",
    )
    require(
        context.transfer is None,
        "this technique trains by TFMOT in Keras 2, which learns from labels, and a transfer set "
        "has none: use engine=keras",
    )
    require(
        goal is None or goal.one_label,
        "this technique trains by TFMOT in Keras 2, and there only networks that give one class an "
        "example: use one that trains in Keras 3, such as prune with engine=keras, bwn, svd or "
        "hashed",
    )
    require(
        not context.callbacks and not context.class_weight,
        "this technique trains by TFMOT in Keras 2, where Keras 3's callbacks and class weights "
        "aren't known: leave them out",
    )


def _seed_epoch(model: Any, seed: int) -> None:
    """Starts all random generators from a seed, those of dropout layers included.

    An epoch that is begun again after a crash is then the same epoch, though TensorFlow keeps the
    state of dropout's generators inside the compiled step: only a new one starts afresh.
    """
    tf_keras().utils.set_random_seed(seed)
    if any(type(layer).__name__.startswith(_RANDOM) for layer in all_layers(model)):
        model.make_train_function(force=True)


def _tensorboard(folder: Path | None) -> list[Any]:
    """Returns the callback that writes TensorBoard's logs, if they are wanted."""
    if folder is None:
        return []
    return [tf_keras().callbacks.TensorBoard(str(folder), profile_batch=0)]


def _learning_rate(optimizer: Any) -> float:
    """Returns the rate of the next step; tf_keras's own property is that of the last one."""
    rate = optimizer._learning_rate
    return float(np.asarray(rate(optimizer.iterations) if callable(rate) else rate))


class _Objective:
    """Computes loss and accuracy from targets that hold a label and, with a teacher, its logits.

    ```
    loss = (1 - weight) * crossentropy + weight * T^2 * KL(softmax(t / T) || softmax(s / T))
    ```

    Reference: as `training.distill.KD`, whose loss this is.
    """

    def __init__(self, training: Training, softmax: bool, teacher: keras.Model | None) -> None:
        distillation = training.distillation or Distillation()
        self._weight = distillation.weight if teacher is not None else 0.0
        self._temperature = distillation.temperature
        self._softmax = softmax
        self._runner = runner(teacher) if teacher is not None else None
        self._teacher_softmax = teacher is not None and ends_in_softmax(teacher)

    def targets(
        self, images: np.ndarray, labels: np.ndarray, teacher_outputs: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the targets of a batch: (n, 1), or (n, 1 + classes) with a teacher.

        Args:
            images: as the model takes them.
            labels: (n,).
            teacher_outputs: for these images; None to have them computed, if there is a teacher.
        """
        columns = [class_numbers(labels).astype("float32")[:, None]]
        if self._runner is not None:
            if teacher_outputs is None:
                teacher_outputs = self._runner.predict_on_batch(images)
            logits = np.asarray(teacher_outputs).reshape(len(labels), -1)
            if self._teacher_softmax:
                logits = np.log(np.clip(logits, 1e-7, 1.0))
            columns.append(logits)
        return np.concatenate(columns, 1).astype("float32")

    def loss(self, targets: Any, outputs: Any) -> Any:
        """Returns one value for each image."""
        logits = as_logits(outputs, self._softmax)
        log_probabilities = keras.ops.log_softmax(logits)
        classes = log_probabilities.shape[-1]
        labels = keras.ops.one_hot(keras.ops.cast(targets[:, 0], "int32"), classes)
        hard = -keras.ops.sum(labels * log_probabilities, -1)
        if not self._weight:
            return hard
        soft = divergence(logits, targets[:, 1:], self._temperature)
        return (1 - self._weight) * hard + self._weight * self._temperature**2 * soft

    def accuracy(self, targets: Any, outputs: Any) -> Any:
        """Returns 1 for each image whose label has the highest score, else 0."""
        chosen = keras.ops.cast(keras.ops.argmax(outputs, -1), "float32")
        return keras.ops.cast(chosen == targets[:, 0], "float32")


def _sequence(batches: Any, objective: _Objective, outputs_given: bool) -> Any:
    """Returns the epoch's batches as tf_keras takes them.

    Args:
        batches: as `training.batches` makes them.
        objective: makes the targets.
        outputs_given: whether the teacher's outputs stand beside the inputs.
    """

    class Batches(tf_keras().utils.Sequence):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(batches)

        def __getitem__(self, index: int) -> tuple[Any, ...]:
            images, labels, *weights = batches[index]
            outputs = None
            if outputs_given:
                images, outputs = images
            return images, objective.targets(images, labels, outputs), *weights

        def on_epoch_end(self) -> None:
            batches.on_epoch_end()

    return Batches()
