"""Trains a student on what a teacher gives."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import keras
from keras import ops, tree

from tfcompress import graph
from tfcompress.errors import InputError, require
from tfcompress.graph.nodes import functional, input_structure, nodes, output_structure
from tfcompress.training.distill.features import FeatureLoss, Hint
from tfcompress.training.distill.losses import OutputLoss
from tfcompress.training.outputs import as_logits, endings

Stage = Literal["all", "hints", "others"]


@keras.saving.register_keras_serializable("tfcompress")
class Distiller(keras.distillation.Distiller):
    """Keras's `Distiller`, with one pass of the student a step and all that `fit` takes.

    ```
    loss = student_loss_weight * loss(y, student) + penalties
           + (1 - student_loss_weight) * sum(weight * distillation_loss(teacher, student))
    ```

    Without labels, as in `fit(x)`, the teacher's losses are all that is learned, with factor 1.

    It takes the same arguments and losses as Keras's, and differs in this. Layers that are compared
    come from the same pass of the student as its outputs. Penalties on the student's weights and
    activations count. `sample_weight` and `class_weight` reach every loss of `tfcompress`. Losses
    with a regressor, such as `Hint`, train it. `compile` takes all that Keras's models take, and no
    loss where the labels' has no weight. `distillation_loss_weights` beside a single loss counts.
    The teacher is copied: the given one stays as it is. Teacher and student may take inputs of
    other types, and `teacher` may give its outputs in another structure. `save` writes the student.

    Args:
        teacher: a trained model; functional, Sequential, or one that can be copied.
        student: the model that is trained.
        distillation_losses: one or several of `keras.distillation` or of this package.
        distillation_loss_weights: their factors; None for 1 each.
        student_loss_weight: the labels' share of the loss, 0 to 1.
        outputs_given: whether the inputs are pairs of inputs and the teacher's outputs for them, so
            that the teacher needn't be run.
        noise: standard deviation of the factors `1 + xi` by which logits of the teacher are
            disturbed; 0 for none.
        noise_share: the share of the examples whose logits are.
        seed: of the noise.
        track_parts: whether the logs have `student_loss`, `distillation_loss` and `total_loss`, as
            Keras's own.
        name: of the distiller.
        kwargs: as in `keras.Model`.

    Example:
        ```python
        distiller = Distiller(teacher, student, [KD(), Hint()], [1.0, 100.0], 0.3)
        distiller.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        distiller.fit(x, y, epochs=10)
        small = distiller.student
        ```

    Reference:
        Sau and Balasubramanian 2016, "Deep Model Compression: Distilling Knowledge from Noisy
        Teachers", arXiv:1610.09650 (the noise).
    """

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model,
        distillation_losses: Any,
        distillation_loss_weights: Sequence[float] | None = None,
        student_loss_weight: float = 0.5,
        name: str = "distiller",
        *,
        outputs_given: bool = False,
        noise: float = 0.0,
        noise_share: float = 0.5,
        seed: int = 0,
        track_parts: bool = True,
        **kwargs: Any,
    ) -> None:
        keras.Model.__init__(self, name=name, **kwargs)
        self._check(teacher, student, student_loss_weight)
        single = not isinstance(distillation_losses, list | tuple)
        losses = [distillation_losses] if single else list(distillation_losses)
        weights = distillation_loss_weights
        weights = [1.0] * len(losses) if weights is None else tree.flatten(weights)
        require(
            bool(losses) and len(weights) == len(losses),
            f"distillation_loss_weights must be one for each loss; got {len(weights)} for "
            f"{len(losses)}",
        )
        self.student = student
        # With given outputs nothing of the teacher is run.
        self.teacher = None if outputs_given else _frozen_copy(teacher)
        self.student_loss_weight = student_loss_weight
        self.distillation_losses = losses
        self.distillation_loss_weights = weights
        for loss in losses:
            loss.validate_model_compatibility(self.teacher or teacher, student)
        self._create_multi_feature_extractors()
        hints = [loss for loss in losses if isinstance(loss, Hint)]
        # Tracked here, so that they are trained; the student doesn't know of them.
        self.regressors = [loss.regressor for loss in hints if loss.regressor is not None]
        self._noise, self._noise_share = noise, noise_share
        self._generator = keras.random.SeedGenerator(seed) if noise else None
        self._softmax = [ending == "softmax" for ending in _endings(teacher)]
        self._outputs_given = outputs_given
        self._stage: Stage = "all"
        self._pass = _Pass()
        if track_parts:
            self.student_loss_tracker = keras.metrics.Mean(name="student_loss")
            self.distillation_loss_tracker = keras.metrics.Mean(name="distillation_loss")
            self.total_loss_tracker = keras.metrics.Mean(name="total_loss")
        self._track_parts = track_parts

    def _check(self, teacher: Any, student: Any, student_loss_weight: Any) -> None:
        """Refuses what isn't a model, and models whose outputs can't be compared.

        Raises:
            ValueError: says which.
        """
        for title, model in (("teacher", teacher), ("student", student)):
            kind = type(model).__name__
            require(isinstance(model, keras.Model), f"{title} must be a Keras model; got {kind}")
        require(
            isinstance(student_loss_weight, int | float) and 0 <= student_loss_weight <= 1,
            f"student_loss_weight must be in [0, 1]; got {student_loss_weight!r}",
        )
        self._validate_output_compatibility(teacher, student)

    def _create_feature_extractor(self, model: Any, layer_names: list[str]) -> Any:
        """Returns a model of the same layers that gives what some of them give, too, or None."""
        if not layer_names or model is None:
            return None
        outputs = {"final_output": output_structure(model)}
        for node in nodes(model):
            if node.operation.name in layer_names:
                outputs[node.operation.name] = node.outputs[0]
        return keras.Model(input_structure(model), outputs, name=f"{model.name}_with_features")

    # Losses and metrics by an output's name, and callbacks that look at layers, find the student's.
    @property
    def output_names(self) -> list[str] | None:
        """The names of the student's outputs; None of a student without a graph."""
        return getattr(self.student, "output_names", None)

    @property
    def layers(self) -> list[Any]:
        """The student's layers."""
        return self.student.layers

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Returns a layer of the student, as `keras.Model.get_layer` does."""
        return self.student.get_layer(name, index)

    @property
    def own_variables(self) -> list[Any]:
        """What a checkpoint holds beside the student's: the regressors' and the noise's."""
        found = [variable for layer in self.regressors for variable in layer.variables]
        return found if self._generator is None else [*found, self._generator.state]

    def enter_stage(self, stage: Stage) -> None:
        """Says what the steps from now on train by: `all` losses at once, as at first, or some.

        Args:
            stage: `hints`, by `Hint` alone; or `others`, by all losses but it.
        """
        if self._stage != stage:
            self.train_function = None  # To be traced anew.
        self._stage = stage

    def compile(
        self, optimizer: Any = "adam", loss: Any = None, metrics: Any = None, **kwargs: Any
    ) -> None:
        """Compiles as `keras.Model.compile` does.

        Args:
            optimizer: of the student and of the regressors.
            loss: between the labels and the student's outputs; None where it has no weight.
            metrics: of the student's outputs.
            kwargs: as there.

        Raises:
            ValueError: there is no loss, though the labels' loss has a weight.
        """
        require(
            loss is not None or self.student_loss_weight == 0,
            f"'loss' can't be None where student_loss_weight is {self.student_loss_weight}",
        )
        self._student_loss_for_serialization = loss
        keras.Model.compile(self, optimizer=optimizer, loss=loss, metrics=metrics, **kwargs)

    def call(self, inputs: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Returns the student's outputs, and remembers what its compared layers give."""
        mine = inputs[0] if self._outputs_given else inputs
        if self._student_feature_extractor is None or not training:
            return self.student(mine, training=training, **kwargs)
        features = self._student_feature_extractor(mine, training=training)
        self._pass.outputs, self._pass.features = features["final_output"], features
        return features["final_output"]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Returns the weighted sum of the labels' loss, the teacher's losses and the penalties."""
        if y_pred is None:
            y_pred = self(x, training=training)
        penalties = [self._part_of_batch(each) for each in self.losses]
        share = 0.0 if y is None or self._stage == "hints" else float(self.student_loss_weight)
        of_labels: Any = 0.0
        total: Any = 0.0
        if share > 0:
            # It comes with the penalties, which are to count once.
            of_labels = keras.Model.compute_loss(self, x, y, y_pred, sample_weight, training)
            total = share * of_labels
        of_teacher: Any = 0.0
        if y is None or share < 1:
            of_teacher = self._part_of_batch(
                self._teachers_loss(x, y, y_pred, sample_weight, training)
            )
            total = total + (1 - share) * of_teacher
        if penalties:
            total = total + (1 - share) * sum(penalties)
        if (
            self._stage != "all"
        ):  # Every weight has a gradient, those that a stage leaves out one of 0.
            left_out = [*tree.flatten(y_pred), *self._regressors_weights()]
            total = total + 0.0 * sum(ops.sum(ops.cast(each, "float32")) for each in left_out)
        if self._track_parts:
            self.student_loss_tracker.update_state(of_labels)
            self.distillation_loss_tracker.update_state(of_teacher)
            self.total_loss_tracker.update_state(total)
        return total

    def _part_of_batch(self, loss: Any) -> Any:
        """Returns a sum in the share that a device's part has in the loss of the whole batch.

        Keras scales the labels' loss itself, where `tf.distribute` adds up what devices compute.
        """
        return self._aggregate_additional_loss(ops.cast(loss, "float32"))

    def reset_metrics(self) -> None:
        """Starts all metrics anew."""
        keras.Model.reset_metrics(self)

    def _regressors_weights(self) -> list[Any]:
        """Returns the weights that are trained beside the student's."""
        return [weight for layer in self.regressors for weight in layer.trainable_variables]

    def _teachers_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool
    ) -> Any:
        """Returns the weighted sum of the distillation losses."""
        of_teacher = self._teacher_features(x)
        of_student = self._student_features(x, y_pred, training)
        if self._noise and training:
            disturbed = self._disturbed(of_teacher["final_output"])
            of_teacher = {**of_teacher, "final_output": disturbed}
        total: Any = 0.0
        for loss, weight in zip(
            self.distillation_losses, self.distillation_loss_weights, strict=True
        ):
            if self._left_out(loss):
                continue
            teacher = of_teacher[getattr(loss, "teacher_layer_name", None) or "final_output"]
            student = of_student[getattr(loss, "student_layer_name", None) or "final_output"]
            loss.validate_outputs(teacher, student)
            # Others may take no further arguments.
            ours = isinstance(loss, OutputLoss | FeatureLoss)
            known = {"sample_weight": sample_weight, "targets": y} if ours else {}
            total = total + weight * loss.compute_loss(teacher, student, **known)
        return total

    def _left_out(self, loss: Any) -> bool:
        """Says whether the present stage goes without a loss."""
        if self._stage == "all":
            return False
        return isinstance(loss, Hint) != (self._stage == "hints")

    def _teacher_features(self, x: Any) -> dict[str, Any]:
        """Returns what the teacher and its compared layers give, by layer."""
        if self._outputs_given:
            return {"final_output": x[1]}
        return self._extract_all_teacher_features(x)

    def _student_features(self, x: Any, y_pred: Any, training: bool) -> dict[str, Any]:
        """Returns what the student's layers gave in the pass that gave these outputs."""
        if self._student_feature_extractor is None:
            return {"final_output": y_pred}
        seen, outputs = tree.flatten(self._pass.outputs), tree.flatten(y_pred)
        if len(seen) == len(outputs) and all(a is b for a, b in zip(seen, outputs, strict=True)):
            return self._pass.features
        mine = x[0] if self._outputs_given else x
        return {
            **self._student_feature_extractor(mine, training=training),
            "final_output": y_pred,
        }

    def _disturbed(self, outputs: Any) -> Any:
        """Returns the teacher's outputs with the logits of some examples times 1 + xi."""

        def disturb(place: int, values: Any) -> Any:
            softmax = place < len(self._softmax) and self._softmax[place]
            logits = as_logits(ops.cast(values, "float32"), softmax)
            shape = ops.shape(logits)
            which = keras.random.uniform((shape[0], *(1,) * (len(shape) - 1)), seed=self._generator)
            xi = self._noise * keras.random.normal(shape, seed=self._generator)
            logits = logits * (1 + xi * ops.cast(which < self._noise_share, "float32"))
            return ops.softmax(logits) if softmax else logits

        flat = [disturb(place, values) for place, values in enumerate(tree.flatten(outputs))]
        return tree.pack_sequence_as(outputs, flat)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Writes the student; arguments are those of `keras.Model.save`."""
        self.student.save(filepath, *args, **kwargs)

    def save_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Writes the student's weights; arguments are those of `keras.Model.save_weights`."""
        self.student.save_weights(filepath, *args, **kwargs)

    def load_weights(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """Reads the student's weights; arguments are those of `keras.Model.load_weights`."""
        self.student.load_weights(filepath, *args, **kwargs)


class _Pass:
    """What a pass of the student gave; no attribute of a layer, which would track it."""

    outputs: Any = None
    features: dict[str, Any]


def _frozen_copy(teacher: keras.Model) -> keras.Model:
    """Returns a copy of a model, whose weights aren't trained."""
    try:
        functional(teacher)
    except InputError:  # Of one without a graph.
        copied = copy.deepcopy(teacher)
    else:
        copied = graph.clone(teacher)
    copied.trainable = False
    return copied


def _endings(model: keras.Model) -> tuple[str, ...]:
    """Returns the activations of a model's outputs; none of one without a graph."""
    try:
        return endings(model)
    except InputError:
        return ()
