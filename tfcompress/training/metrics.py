"""Finds Keras's metrics: those that fit a model, those asked for, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcompress.data.protocol import Data
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.graph.nodes import functional, output_keys
from tfcompress.metric import Metric
from tfcompress.training.objective import Fitting, fitting_outputs
from tfcompress.training.outputs import endings

# Of shape (images, height, width, scores): one class a pixel.
_SEGMENTATION_RANK = 4
_MEAN_IOU = ("iou", "mean_io_u", "mean_iou", "miou")
_SHARES = (
    keras.metrics.Accuracy,
    keras.metrics.AUC,
    keras.metrics.BinaryAccuracy,
    keras.metrics.CategoricalAccuracy,
    keras.metrics.FBetaScore,
    keras.metrics.IoU,
    keras.metrics.Precision,
    keras.metrics.PrecisionAtRecall,
    keras.metrics.Recall,
    keras.metrics.RecallAtPrecision,
    keras.metrics.SensitivityAtSpecificity,
    keras.metrics.SparseCategoricalAccuracy,
    keras.metrics.SparseTopKCategoricalAccuracy,
    keras.metrics.SpecificityAtSensitivity,
    keras.metrics.TopKCategoricalAccuracy,
)


class OfClasses(keras.metrics.Metric):
    """Lets a metric of one-hot targets and probabilities judge numbers of classes and logits.

    Args:
        metric: Keras's, such as AUC.
        classes: how many there are.
        sparse: whether the targets are numbers of classes; else they are one-hot.
        logits: whether the outputs are logits; else they are probabilities.
    """

    def __init__(
        self, metric: keras.metrics.Metric, classes: int, *, sparse: bool, logits: bool
    ) -> None:
        super().__init__(name=metric.name)
        self.metric = metric
        self._classes, self._sparse, self._logits = classes, sparse, logits

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Counts a batch."""
        if self._sparse:
            numbers = keras.ops.reshape(y_true, keras.ops.shape(y_pred)[:-1])
            y_true = keras.ops.one_hot(keras.ops.cast(numbers, "int32"), self._classes)
        if self._logits:
            y_pred = keras.ops.softmax(y_pred)
        self.metric.update_state(y_true, y_pred, sample_weight)

    def result(self) -> Any:
        """Returns the metric's value."""
        return self.metric.result()

    def reset_state(self) -> None:
        """Forgets the batches."""
        self.metric.reset_state()


def higher_is_better(metric: Any) -> bool | None:
    """Returns which way a metric is better; None where only its author knows.

    Args:
        metric: Keras's object; None for the loss.
    """
    if metric is None:
        return False
    metric = _inner(metric)
    # What Keras's own callbacks go by to know whether a model has become better.
    direction = getattr(metric, "_direction", None)
    if direction is not None:
        return bool(direction == "up")
    name = getattr(_wrapped(metric), "__name__", "")
    if name.endswith("accuracy") and hasattr(keras.metrics, name):
        return True
    return None if not name or getattr(keras.losses, name, None) is None else False


def described(name: str, metric: Any, higher: bool | None) -> Metric:
    """Returns how a metric's values are told.

    Args:
        name: in Keras's results.
        metric: Keras's object; None for the loss.
        higher: whether higher is better, where the user says so.

    Raises:
        InputError: nobody says which way is better.
    """
    known, metric = higher_is_better(metric), _inner(metric)
    better = known if higher is None else higher
    require(
        better is not None,
        f"it isn't known which way {name} is better: ask for {name}:max if higher is, or "
        f"{name}:min",
    )
    wrapped = getattr(_wrapped(metric), "__name__", "")
    return Metric(
        name=name,
        higher_is_better=bool(better),
        share=isinstance(metric, _SHARES)
        or (wrapped.endswith("_accuracy") and hasattr(keras.metrics, wrapped)),
    )


def of_each_example(metric: Any) -> Callable[[Any, Any], Any] | None:
    """Returns the function whose mean over the examples a metric is; None for other metrics."""
    function = _wrapped(metric)
    settings = getattr(metric, "_fn_kwargs", {})
    return None if function is None else lambda y, outputs: function(y, outputs, **settings)


def _inner(metric: Any) -> Any:
    """Returns the metric that judges classes' numbers in a wrapper, and others as they are."""
    return metric.metric if isinstance(metric, OfClasses) else metric


def _wrapped(metric: Any) -> Any:
    """Returns the function that a metric takes the mean of, if it is one of these."""
    if not isinstance(metric, keras.metrics.MeanMetricWrapper):
        return None
    return getattr(metric, "_fn", None)


def metrics_that_fit(model: keras.Model, data: Data) -> list[list[Any]]:
    """Returns each output's metrics where none were compiled, the one to compare files by first.

    Raises:
        InputError: the targets don't fit the outputs.
    """
    found, _, _ = fitting_outputs(model, data)
    metrics: list[list[Any]] = []
    for fitting, output in zip(found, functional(model).outputs, strict=True):
        iou = _mean_iou(fitting, output.shape)
        metrics.append([fitting.metric] if iou is None else [iou, fitting.metric])
    return metrics


def _mean_iou(fitting: Fitting, shape: tuple[int | None, ...]) -> Any:
    """Returns the metric of a segmentation; None if the output is none."""
    if len(shape) != _SEGMENTATION_RANK:
        return None
    if isinstance(fitting.loss, keras.losses.BinaryCrossentropy):
        return keras.metrics.BinaryIoU(name="mean_iou") if shape[-1] == 1 else None
    if not fitting.classes or shape[-1] is None:
        return None
    return keras.metrics.MeanIoU(
        num_classes=shape[-1],
        sparse_y_true=isinstance(fitting.loss, keras.losses.SparseCategoricalCrossentropy),
        sparse_y_pred=False,
        name="mean_iou",
    )


def asked_metric(model: keras.Model, data: Data, name: str, known: list[str]) -> tuple[int, Any]:
    """Returns a metric of Keras's that a user asks for beyond the compiled ones.

    Args:
        model: whose outputs are judged.
        data: whose targets tell what fits.
        name: of the metric; where there are several outputs, behind the output's, as in
            `price_mae`.
        known: names of the compiled ones, for the error.

    Returns:
        The number of the output that it judges, and Keras's object or name.

    Raises:
        InputError: Keras has none of that name, or it doesn't say of which output.
    """
    keys = output_keys(model)
    place, own = 0, name
    if len(keys) > 1:
        longest_first = sorted(range(len(keys)), key=lambda at: -len(keys[at]))
        places = [at for at in longest_first if name.startswith(f"{keys[at]}_")]
        if not places:
            raise InputError(
                f"unknown metric '{name}': the model '{model.name}' has {len(keys)} outputs; known "
                f"are {', '.join(known)} and Keras's metrics behind an output's name, such as "
                f"{keys[0]}_mae"
            )
        place = places[0]
        own = name.removeprefix(f"{keys[place]}_")
    if own.lower() in _MEAN_IOU:
        fitting = fitting_outputs(model, data)[0][place]
        iou = _mean_iou(fitting, functional(model).outputs[place].shape)
        require(iou is not None, f"{name} is for outputs (height, width, classes), one a pixel")
        return place, iou
    if own.lower() in ("acc", "accuracy"):
        return place, own
    return place, _for_output(model, data, place, _of_keras(own, known))


def _for_output(
    model: keras.Model, data: Data, place: int, metric: keras.metrics.Metric
) -> keras.metrics.Metric:
    """Returns a metric so that it takes an output's scores of classes and their targets."""
    try:
        fitting = fitting_outputs(model, data)[0][place]
    except InputError:  # A loss of the user's, with targets of its own.
        return metric
    classes = functional(model).outputs[place].shape[-1]
    if not fitting.classes or classes is None or metric.name.lower().startswith("sparse"):
        return metric
    return OfClasses(
        metric,
        classes,
        sparse=isinstance(fitting.loss, keras.losses.SparseCategoricalCrossentropy),
        logits=endings(model)[place] != "softmax",
    )


def _of_keras(name: str, known: list[str]) -> keras.metrics.Metric:
    """Returns a metric or a loss of Keras's by its name, as a metric.

    Raises:
        InputError: there is none, or it needs arguments.
    """
    try:
        found = keras.metrics.get(name)
        if not isinstance(found, keras.metrics.Metric):
            found = keras.metrics.MeanMetricWrapper(found)
        found.name = name  # As a metric is called that is compiled by its name.
        return found
    except ValueError:
        pass
    except TypeError as error:
        raise InputError(
            f"metric {name} needs arguments: compile the model with it ({error})"
        ) from error
    try:
        return keras.metrics.MeanMetricWrapper(keras.losses.get(name), name=name)
    except ValueError:
        names = [
            one.__name__
            for one in vars(keras.metrics).values()
            if isinstance(one, type) and issubclass(one, keras.metrics.Metric)
        ]
        raise unknown_name("metric", name, [*known, *names]) from None


def mean_of(value: Any) -> float:
    """Returns a metric's result as one number: of one for each class, such as F1's, the mean."""
    return float(np.mean(keras.ops.convert_to_numpy(value)))
