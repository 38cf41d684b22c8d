"""Judges predictions, a file's or Keras's, by the metrics that a model was compiled with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from tfcompress.data.protocol import Batch, Data
from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional, output_keys, output_structure
from tfcompress.metric import Metric, parse
from tfcompress.plain_text import first_line
from tfcompress.training import metrics as found_metrics
from tfcompress.training.objective import Objective, in_order_of

# Examples on which metrics are tried before anything is trained.
_TRIED = 8


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Judgement:
    """Says what predictions on held-out examples are worth.

    Attributes:
        value: the metric's.
        metrics: all metrics by their names; empty if there is no other than that one.
        per_example: the metric of each example, where it is the mean of these; else None.
        labels: the class chosen for each example, where there is one; else None.
        examples: how many there were.
    """

    value: float
    metrics: Mapping[str, float]
    per_example: np.ndarray | None
    labels: np.ndarray | None
    examples: int


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Judges the predictions of a model, or of what a technique made of it; `judge_of` makes one.

    Attributes:
        metric: by which files are compared.
        compiled: models that compute nothing, compiled with all metrics.
        several: whether there are more metrics than that one.
        each: gives the metric of each example, where it is their mean; else None.
        output: the number of the output that it judges.
        one_label: whether the outputs are scores of one class an example.
    """

    metric: Metric
    compiled: tuple[keras.Model, ...]
    several: bool
    each: Callable[[Any, Any], Any] | None
    output: int
    one_label: bool

    def judge(self, predictions: Iterable[tuple[list[np.ndarray], Batch]]) -> Judgement:
        """Returns what predictions are worth.

        Args:
            predictions: the outputs for each batch, in the model's order, and the batch; as
                `held_out` gives them.

        Raises:
            InputError: there are no examples, or the metric is no finite number.
        """
        per_example: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        values: dict[str, float] = {}
        examples, losses = 0, 0.0
        # Keras counts batch by batch, which takes a while: not for what is the mean of examples.
        counting = self.compiled if self.several or self.each is None else ()
        for model in counting:
            model.reset_metrics()
        for outputs, batch in predictions:
            examples += len(outputs[0])
            for model in counting:
                values |= _count(model, outputs, batch)
            losses += values.get("loss", 0.0) * len(outputs[0])
            if self.each is not None:
                targets, _ = in_order_of(output_keys(self.compiled[0]), batch.y)
                values_each = self.each(targets[self.output], outputs[self.output])
                per_example.append(_per_example(values_each))
            if self.one_label:
                labels.append(outputs[0].reshape(len(outputs[0]), -1).argmax(-1))
        require(examples > 0, "there are no held-out examples to judge by")
        if counting:
            values["loss"] = losses / examples
        joined = np.concatenate(per_example) if per_example else None
        if joined is not None:
            values[self.metric.name] = float(joined.mean())
        value = values[self.metric.name]
        require(bool(np.isfinite(value)), f"the metric {self.metric.name} is {value}")
        return Judgement(
            value=value,
            metrics=values if self.several else {},
            per_example=joined,
            labels=np.concatenate(labels) if labels else None,
            examples=examples,
        )


def held_out(
    predict: Callable[[Any], list[np.ndarray]], data: Data, batch_size: int = 64
) -> Iterator[tuple[list[np.ndarray], Batch]]:
    """Yields the outputs for the held-out examples, and these, batch by batch.

    Args:
        predict: gives the outputs for a batch's inputs, in the model's order.
        data: which has the examples.
        batch_size: examples at a time; a stream has its own.
    """
    for batch in data.test_batches(batch_size):
        yield predict(batch.x), batch


def judge_of(
    model: keras.Model,
    data: Data,
    objective: Objective,
    asked: str | None = None,
    *,
    outputs: list[np.ndarray] | None = None,
) -> Judge:
    """Returns what judges a model's predictions: the metrics that it is trained with.

    Where none were compiled they follow from outputs and targets: accuracy of classes, mean IoU
    and accuracy of a class for each pixel, mean absolute error of other values.

    Args:
        model: functional or Sequential.
        data: on some of whose examples the metrics are tried.
        objective: what the model is trained for.
        asked: the metric by which files are compared: a name of Keras's results, such as `mae` or
            `price_mae`, or of one of Keras's metrics that wasn't compiled; with `:max` or `:min`
            where it isn't known which way is better. None for the first of which that is known.
        outputs: for the first held-out examples, of a file whose model isn't there; `model` then
            only says what the outputs are. None to compute some.

    Raises:
        InputError: the data don't fit the model, its loss or its metrics; or the metric isn't
            known, or which way is better.
    """
    outputs, batch = _first(model, data, outputs)
    arguments = objective.compile_arguments()
    if not objective.users:
        arguments["metrics"] = found_metrics.metrics_that_fit(model, data)
    elif not (objective.metrics or objective.weighted_metrics):
        arguments["metrics"] = _fitting_if_any(model, data)
    compiled = [_outputs_model(model, arguments)]
    known = _tried(compiled[0], outputs, batch, f"{data.name} and model '{model.name}'")
    name, higher = (None, None) if asked is None else parse(asked)
    if name is None:
        directed = (key for key in known if found_metrics.higher_is_better(known[key]) is not None)
        name = next(directed)
    elif name not in known:
        place, metric = found_metrics.asked_metric(model, data, name, list(known))
        own_metrics: list[Any] = [[] for _ in outputs]
        own_metrics[place] = [metric]
        compiled.append(_outputs_model(model, {**arguments, "metrics": own_metrics,
                                               "weighted_metrics": None}))  # fmt: skip
        more = _tried(compiled[1], outputs, batch, f"metric {name} and {data.name}")
        name, known = next(iter(more)), known | more
    keys = output_keys(compiled[0])
    prefixes = [key for key in keys if len(keys) > 1 and name.startswith(f"{key}_")]
    return Judge(
        metric=found_metrics.described(name, known[name], higher),
        compiled=tuple(compiled),
        several=len(known) > 2,  # The loss is always there.
        each=None if objective.weighted_metrics else found_metrics.of_each_example(known[name]),
        output=keys.index(max(prefixes, key=len)) if prefixes else 0,
        one_label=objective.one_label,
    )


def _first(
    model: keras.Model, data: Data, outputs: list[np.ndarray] | None
) -> tuple[list[np.ndarray], Batch]:
    """Returns a few outputs and the examples that they are of; the arguments are `judge_of`'s."""
    if outputs is None:
        batch = data.sample(_TRIED)
        return _numpy(model(batch.x, training=False)), batch
    count = len(outputs[0])
    batch = next(iter(data.test_batches(count))).at(slice(0, min(count, _TRIED)))
    return [output[:_TRIED] for output in outputs], batch


def _fitting_if_any(model: keras.Model, data: Data) -> Any:
    """Returns the metrics that fit; None where a loss of the user's takes targets of its own."""
    try:
        return found_metrics.metrics_that_fit(model, data)
    except InputError:
        return None


def _outputs_model(model: keras.Model, arguments: dict[str, Any]) -> keras.Model:
    """Returns a model with the outputs of another, which computes nothing, to judge any of them.

    Compiled, it lets Keras find which metric and which target belong to which output.

    Args:
        model: the other one.
        arguments: of `compile`.
    """
    keys = output_keys(model)
    inputs, outputs = [], []
    for key, tensor in zip(keys, functional(model).outputs, strict=True):
        given = keras.Input(tensor.shape[1:], dtype="float32")
        own_name = key if keys.count(key) == 1 and "/" not in key else None
        inputs.append(given)
        outputs.append(keras.layers.Identity(name=own_name, dtype="float32")(given))
    judged = keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        tree.pack_sequence_as(output_structure(model), outputs),
    )
    judged.compile(**arguments)
    return judged


def _tried(
    judged: keras.Model, outputs: list[np.ndarray], batch: Batch, what: str
) -> dict[str, Any]:
    """Returns a compiled model's metrics by their names, tried on a batch; last the loss.

    Raises:
        InputError: `what` don't fit one another.
    """
    try:
        _count(judged, outputs, batch)
    except Exception as error:  # Keras, its backends and the user's functions have their own.
        raise InputError(f"{what} don't fit one another: {first_line(error)}") from error
    collection = _compiled_metrics(judged)
    known = {}
    if collection is not None:
        known = dict(zip(collection.result(), collection.metrics, strict=True))
    judged.reset_metrics()
    return {**known, "loss": None}


def _count(judged: keras.Model, outputs: list[np.ndarray], batch: Batch) -> dict[str, float]:
    """Counts a batch; returns its loss, and the metrics over all batches since `reset_metrics`."""
    given = tree.pack_sequence_as(output_structure(judged), outputs)
    y, given, weights = (
        None if part is None else tree.map_structure(keras.ops.convert_to_tensor, part)
        for part in (batch.y, given, batch.sample_weight)
    )
    loss = judged.compute_loss(y=y, y_pred=given, sample_weight=weights, training=False)
    judged.compute_metrics(None, y, given, weights)
    # Keras's mean of the loss is kept by its own loop alone.
    collection = _compiled_metrics(judged)
    values = {**(collection.result() if collection else {}), "loss": loss}
    return {name: found_metrics.mean_of(value) for name, value in values.items()}


def _compiled_metrics(judged: keras.Model) -> Any:
    """Returns Keras's collection of the metrics that a model was compiled with; None without."""
    return next((metric for metric in judged.metrics if metric.name == "compile_metrics"), None)


def _per_example(values: Any) -> np.ndarray:
    """Returns the mean over each example's own values, in 64 bits."""
    array = np.asarray(keras.ops.convert_to_numpy(values), "float64")
    return array.reshape(len(array), -1).mean(-1)


def _numpy(outputs: Any) -> list[np.ndarray]:
    """Returns tensors of any structure in a list, in Keras's order."""
    return [np.asarray(keras.ops.convert_to_numpy(y), "float32") for y in tree.flatten(outputs)]
