"""DeepInversion: images that are made from a trained classifier alone, without any data.

Pixels are what the optimizer trains: from noise towards images to which the teacher gives the
wanted classes, which are smooth, and whose features have the means and variances that the
teacher's batch normalisations have learned.

```
loss = crossentropy(classes, t(x)) + tv * sum_d |x - shifted_d(x)| + l2 * |x|
       + bn * sum_layers (|mean(f) - moving_mean| + |var(f) - moving_variance|)
       + adversarial * (1 - JS(t(x), s(x)))
```

with the features f that go into a batch normalisation, the four directions d, the teacher t and a
student s; |.| is the Euclidean norm of all values, over the whole batch.

Reference:
    Yin et al. 2020, "Dreaming to Distill: Data-free Knowledge Transfer via DeepInversion",
    arXiv:1912.08795, equations 1 to 8.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfcompress.config import Inversion
from tfcompress.data.normalization import Normalization
from tfcompress.errors import require
from tfcompress.graph import clone
from tfcompress.graph.nodes import functional, operations, run
from tfcompress.training.evaluate import jit_compile
from tfcompress.training.outputs import as_logits, ends_in_softmax

# Noise of deviation 1 becomes pixels around the middle of 0..255.
_MIDDLE, _SPREAD = 127.5, 64.0


def invert(
    teacher: keras.Model,
    count: int,
    normalization: Normalization,
    *,
    settings: Inversion = Inversion(),  # noqa: B008 - it is frozen.
    student: keras.Model | None = None,
    seed: int = 0,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> np.ndarray:
    """Makes one batch of images from a teacher.

    Args:
        teacher: a classifier of images of one size; stays as it is. Without batch normalisation
            the priors alone shape the images.
        count: how many, the classes in turns.
        normalization: from pixels to what the teacher takes.
        settings: steps and weights; its `batch_size` isn't heeded.
        student: for `settings.adversarial_weight`; stays as it is.
        seed: of the noise and the shifts.
        on_step: is called with the number of steps that are done, and the loss.

    Returns:
        uint8 (count, height, width, channels).

    Raises:
        InputError: the teacher isn't such a model, or a student is missing.
    """
    check_teacher(teacher)
    require(
        student is not None or not settings.adversarial_weight,
        "inversion.adversarial_weight compares the teacher with a student: give one",
    )
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    canvas = _Canvas(teacher, student, count, normalization, settings)
    targets = np.arange(count) % functional(teacher).outputs[0].shape[-1]
    canvas.paint(rng.normal(size=canvas.shape))
    canvas.compile(
        optimizer=keras.optimizers.Adam(settings.learning_rate), jit_compile=jit_compile()
    )
    for step in range(settings.steps):
        shifts = rng.integers(-settings.jitter, settings.jitter + 1, 2)
        x = np.concatenate([targets[:, None], np.tile(shifts, (count, 1))], axis=1).astype("int32")
        loss = canvas.train_on_batch(x)
        on_step(step + 1, float(np.ravel(loss)[0]))
    return canvas.pixels()


def check_teacher(teacher: keras.Model) -> None:
    """Refuses a model from which no images can be made.

    Raises:
        InputError: it doesn't classify images of one known size.
    """
    model = functional(teacher)
    shapes = [tuple(tensor.shape[1:]) for tensor in (*model.inputs, *model.outputs)]
    fits = len(shapes) == 2 and len(shapes[0]) == 3 and len(shapes[1]) == 1
    require(
        fits and None not in (*shapes[0], *shapes[1]) and shapes[0][2] in (1, 3),
        f"images are made from a classifier of images of one size, in colour or grey; "
        f"'{teacher.name}' has inputs and outputs of shapes {', '.join(map(str, shapes))}",
    )


def has_batch_norm(teacher: keras.Model) -> bool:
    """Says whether a model has batch normalisations, whose statistics images are made by."""
    return any(isinstance(each, keras.layers.BatchNormalization) for each in operations(teacher))


class _Canvas(keras.Model):
    """Holds a batch of images as its only trainable weights.

    Its inputs are a row for each image: the class, and, alike in all rows, by how many pixels the
    images are shifted down and right.
    """

    def __init__(
        self,
        teacher: keras.Model,
        student: keras.Model | None,
        count: int,
        normalization: Normalization,
        settings: Inversion,
    ) -> None:
        super().__init__(name="canvas")
        # Of 16-bit floats small gradients would be none.
        self._teacher = clone(teacher, full_precision=True)
        self._student = None if student is None else clone(student, full_precision=True)
        for model in (self._teacher, self._student):
            if model is not None:
                model.trainable = False
        self._settings = settings
        self._normalization = normalization
        self.shape = (count, *functional(teacher).inputs[0].shape[1:])
        self._images = self.add_weight(
            shape=self.shape, initializer="zeros", name="images", constraint=_InRange()
        )

    def paint(self, noise: np.ndarray) -> None:
        """Puts values in place of the images, on the scale on which noise has deviation 1."""
        self._images.assign(_InRange()(noise.astype("float32")))

    def pixels(self) -> np.ndarray:
        """Returns the images: uint8."""
        values = ops.convert_to_numpy(self._images)
        return np.clip(np.rint(_MIDDLE + _SPREAD * values), 0, 255).astype(np.uint8)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Adds the loss of the images, shifted; returns the teacher's outputs."""
        images = self._moved(inputs[0, 1:])
        mean, std = (
            np.array(values, "float32")
            for values in (self._normalization.mean, self._normalization.std)
        )
        outputs, mismatch = self._looked_at((_MIDDLE + _SPREAD * images - mean) / std)
        weights = self._settings
        logits = as_logits(outputs, ends_in_softmax(self._teacher))
        chosen = ops.one_hot(inputs[:, 0], logits.shape[-1])
        loss = -ops.mean(ops.sum(chosen * ops.log_softmax(logits), axis=-1))
        loss += weights.tv_weight * _variation(images) + weights.l2_weight * _norm(images)
        loss += weights.bn_weight * mismatch
        if self._student is not None and weights.adversarial_weight:
            seen = (_MIDDLE + _SPREAD * images - mean) / std
            answers = as_logits(self._student(seen, training=False), ends_in_softmax(self._student))
            loss += weights.adversarial_weight * (1 - jensen_shannon(logits, answers))
        self.add_loss(loss)
        return outputs

    def _moved(self, move: Any) -> Any:
        """Returns the images shifted around their edges."""
        images = ops.convert_to_tensor(self._images)
        for axis, shift in ((1, move[0]), (2, move[1])):
            side = self.shape[axis]
            images = ops.take(images, (ops.arange(side, dtype="int32") - shift) % side, axis=axis)
        return images

    def _looked_at(self, images: Any) -> tuple[Any, Any]:
        """Returns the teacher's outputs, and how far the features' statistics are from its own."""
        parts: list[Any] = []

        def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
            if isinstance(operation, keras.layers.BatchNormalization):
                x = args[0] if args else kwargs["inputs"]
                axis = operation.axis % len(x.shape)
                others = [at for at in range(len(x.shape)) if at != axis]
                mean, variance = ops.moments(x, others)
                parts.append(_norm(mean - operation.moving_mean))
                parts.append(_norm(variance - operation.moving_variance))
            if getattr(operation, "_call_has_training_arg", False):
                kwargs["training"] = False
            return operation(*args, **kwargs)

        outputs = run(self._teacher, images, apply)
        return outputs, sum(parts) if parts else 0.0


class _InRange(keras.constraints.Constraint):
    """Keeps values within what pixels of 0..255 give."""

    def __call__(self, w: Any) -> Any:
        """Returns the values, clipped."""
        return ops.clip(w, (0 - _MIDDLE) / _SPREAD, (255 - _MIDDLE) / _SPREAD)


def _norm(values: Any) -> Any:
    """Returns the Euclidean norm of all values; its gradient is finite where they are 0."""
    return ops.sqrt(ops.sum(ops.square(values)) + 1e-12)


def _variation(images: Any) -> Any:
    """Returns the sum of the norms of the differences of neighbours in four directions."""
    return (
        _norm(images[:, :, :-1] - images[:, :, 1:])
        + _norm(images[:, :-1] - images[:, 1:])
        + _norm(images[:, 1:, :-1] - images[:, :-1, 1:])
        + _norm(images[:, :-1, :-1] - images[:, 1:, 1:])
    )


def jensen_shannon(one: Any, other: Any) -> Any:
    """Returns the Jensen-Shannon divergence of two classifiers, the mean over examples, in nats.

    Args:
        one: logits (examples, classes).
        other: likewise.
    """
    logs = [ops.log_softmax(logits) for logits in (one, other)]
    middle = ops.log((ops.exp(logs[0]) + ops.exp(logs[1])) / 2 + 1e-12)
    parts = [ops.sum(ops.exp(log) * (log - middle), axis=-1) for log in logs]
    return ops.mean(parts[0] + parts[1]) / 2
