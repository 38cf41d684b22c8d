"""Takes the gradients of a trained model's loss, on any backend, and trains nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tfcompress.data import nested
from tfcompress.data.protocol import Batch
from tfcompress.graph import clone
from tfcompress.graph.nodes import input_structure, operations, output_structure
from tfcompress.training.evaluate import jit_compile, predictor
from tfcompress.training.objective import Objective
from tfcompress.training.outputs import endings
from tfcompress.training.unit_strides import unit_strides

_BATCH = 64
# Layer name to the gradients of its weights, None for those that aren't trained.
Gradients = dict[str, list[np.ndarray | None]]


class _Recorder(keras.optimizers.Optimizer):
    """Keeps the gradients of a step, and leaves the weights as they are."""

    def __init__(self) -> None:
        super().__init__(learning_rate=0.0, name="recorder")
        self.gradients: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        """Makes a variable for each gradient."""
        if not self.built:
            super().build(variables)
            self.gradients = [
                self.add_variable_from_reference(variable, name="gradient")
                for variable in variables
            ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Keeps one variable's gradient."""
        kept = self.gradients[self._get_variable_index(variable)]
        self.assign(kept, keras.ops.zeros(kept.shape, kept.dtype))
        self.assign_add(kept, gradient)  # An embedding's has a row for each word that occurs.


class _Deployed(keras.Model):
    """Runs a model's layers as they run when it is used, also in a training step."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=False, mask=mask)


def batch_gradients(
    model: keras.Model, examples: Batch, goal: Objective, batch_size: int
) -> Iterator[Gradients]:
    """Yields the gradients of the loss of each batch, the mean of its examples'.

    The layers compute as they do when the model is used: batch normalisation by its moving
    statistics, dropout not at all. Layers that the user has frozen have gradients, too.

    Args:
        model: flat and with unique names; stays as it is.
        examples: with targets; those behind the last whole batch are left out, if there is one.
        goal: what is minimised.
        batch_size: examples a batch.
    """
    twin = clone(model, full_precision=True)
    for layer in twin.layers:  # The model's own switch leaves them as they are.
        layer.trainable = True
    deployed = _Deployed(input_structure(twin), output_structure(twin), name=model.name)
    recorder = _Recorder()
    recorder.build(deployed.trainable_variables)
    deployed.compile(
        optimizer=recorder,
        loss=goal.loss,
        loss_weights=goal.loss_weights,
        run_eagerly=goal.run_eagerly,
        jit_compile=False if goal.run_eagerly else jit_compile(),
        auto_scale_loss=False,
    )
    places = {id(variable): at for at, variable in enumerate(deployed.trainable_variables)}
    count = nested.count(examples.x, "the examples")
    size = min(batch_size, count)
    with unit_strides(operations(twin)):
        for start in range(0, count - size + 1, size):
            deployed.train_on_batch(*examples.at(slice(start, start + size)).as_fit())
            yield {
                layer.name: [
                    np.array(keras.ops.convert_to_numpy(recorder.gradients[places[id(weight)]]))
                    if id(weight) in places
                    else None
                    for weight in layer.weights
                ]
                for layer in twin.layers
            }


def own_targets(model: keras.Model, x: Any, seed: int = 0) -> tuple[Batch, Objective]:
    """Returns examples without labels with targets that a model makes of its own outputs.

    Against its own outputs a model's loss is at its least, where all gradients are 0. Against
    targets drawn around them the mean of the squared gradients is the Fisher information, which is
    the second derivative of the outputs' divergence from what they were. So of probabilities
    a class is drawn; to other values normal noise is added, of a deviation that is the inverse of
    the output's own, so that all outputs count alike.

    Args:
        model: with softmax outputs, or any others.
        x: examples.
        seed: of the draws.

    Reference:
        Kunstner, Balles, Hennig 2019, "Limitations of the Empirical Fisher Approximation",
        arXiv:1905.12558, section 2.
    """
    rng = np.random.default_rng(seed)
    predict = predictor(model)
    count = nested.count(x, "the examples")
    batches = [nested.take(x, slice(at, at + _BATCH)) for at in range(0, count, _BATCH)]
    outputs = [np.concatenate(parts) for parts in zip(*map(predict, batches), strict=True)]
    targets, losses = [], []
    for values, ending in zip(outputs, endings(model), strict=True):
        if ending == "softmax":
            # The class whose logarithm is the greatest, each with Gumbel noise, is a draw.
            noise = rng.gumbel(size=values.shape)
            chosen = np.argmax(np.log(np.maximum(values, 1e-12)) + noise, axis=-1)
            targets.append(np.eye(values.shape[-1], dtype=np.float32)[chosen])
            losses.append(keras.losses.CategoricalCrossentropy())
        else:
            spread = values.std() if values.std() > 1e-6 * np.abs(values).max() else 1.0
            noise = rng.normal(size=values.shape) / spread
            targets.append((values + noise).astype(np.float32))
            losses.append(keras.losses.MeanSquaredError())
    structure = output_structure(model)
    packed = keras.tree.pack_sequence_as(structure, targets)
    return Batch(x, packed), Objective(loss=keras.tree.pack_sequence_as(structure, losses))
