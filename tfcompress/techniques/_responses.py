"""Decomposes layers by their outputs for real images, and not by their weights alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

import numpy as np

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.ops import reconstruct

Array = np.ndarray
# From inputs (rows, inputs), a kernel and a rank to the kernel of that rank.
Approximate = Callable[[Array, Array, Any], Array]

_BATCH = 32
# Output positions that are looked at, in all images together: some for each weight of a filter.
# The upper bound is for memory: 16,384 rows of 4,608 inputs are 300 MB.
_ROWS_PER_INPUT = 4
_ROWS = (4_096, 16_384)
_SEED = 0


@dataclasses.dataclass(frozen=True)
class Responses:
    """Holds the layers' outputs for some images, at positions drawn from a fixed seed.

    Attributes:
        model: flat, as it was before anything was replaced.
        samples: images as the model takes them.
        targets: layer name to its outputs before the activation, (rows, outputs).
    """

    model: keras.Model
    samples: Array
    targets: dict[str, Array]

    @classmethod
    def of(
        cls, model: keras.Model, names: Iterable[str], samples: Array | None, title: str
    ) -> Self:
        """Runs the images through the network and keeps the layers' outputs.

        Raises:
            InputError: there are no images, or the model takes more than images.
        """
        require(
            samples is not None,
            f"{title} with reconstruction=activations needs training images: use "
            "tfcompress.compress or the command, not transform",
        )
        require(
            len(model.inputs) == 1,
            f"reconstruction=activations needs a model of one input; '{model.name}' has "
            f"{len(model.inputs)}",
        )
        assert samples is not None
        targets: dict[str, list[Array]] = {name: [] for name in names}
        for name, rows in _rows(model, set(targets), {}, samples):
            layer = model.get_layer(name)
            outputs = rows @ _matrix(layer.kernel)
            targets[name].append(outputs + _numpy(layer.bias) if layer.use_bias else outputs)
        return cls(model, samples, {name: np.concatenate(t) for name, t in targets.items()})

    def factorised(
        self,
        name: str,
        form: Any,
        rank: Any,
        approximate: Approximate,
        replaced: Mapping[str, Any],
    ) -> tuple[Any, float]:
        """Decomposes a layer for the inputs that it gets from the layers replaced before it.

        With a bias the responses' deviations from their mean are fitted, and the bias makes the
        means equal. The model's own layer has the fitted kernel from then on.

        Args:
            name: the layer's.
            form: the class in its place.
            rank: as of that class.
            approximate: of `ops.reconstruct`.
            replaced: layer name to what stands in its place.

        Returns:
            The new layer, and the relative error of its responses to these images.
        """
        layer = self.model.get_layer(name)
        batches = _rows(self.model, {name}, replaced, self.samples)
        inputs, targets = np.concatenate([rows for _, rows in batches]), self.targets[name]
        kernel = _numpy(layer.kernel)
        means = np.zeros(inputs.shape[1], np.float32), np.zeros(targets.shape[1], np.float32)
        if layer.use_bias:
            means = inputs.mean(0), targets.mean(0)
        inputs, targets = inputs - means[0], targets - means[1]
        wanted = reconstruct.regress(inputs, targets, _matrix(kernel))
        low_rank = approximate(inputs, wanted.reshape(kernel.shape), rank)
        layer.kernel.assign(low_rank.astype(np.float32))
        if layer.use_bias:
            layer.bias.assign(means[1] - means[0] @ _matrix(low_rank))
        # The kernel has the rank already, so that this only splits it.
        new = form.from_layer(layer, rank)
        norm = float(np.linalg.norm(kernel)) or 1.0
        new.decomposition_error = float(np.linalg.norm(low_rank - kernel)) / norm
        return new, reconstruct.response_error(inputs, targets, _matrix(low_rank))


def _rows(
    model: keras.Model, names: set[str], replaced: Mapping[str, Any], samples: Array
) -> Iterable[tuple[str, Array]]:
    """Yields the inputs of the named layers' outputs, batch by batch, at the same positions."""
    from tfcompress.graph.nodes import run

    seen: list[tuple[str, Any]] = []

    def apply(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if operation.name in names:
            seen.append((operation.name, args[0] if args else kwargs["inputs"]))
        return replaced.get(operation.name, operation)(*args, **kwargs)

    for start in range(0, len(samples), _BATCH):
        seen.clear()
        run(model, keras.ops.convert_to_tensor(samples[start : start + _BATCH]), apply)
        for name, x in seen:
            rng = np.random.default_rng((_SEED, start))
            yield name, _drawn(model.get_layer(name), _numpy(x), len(samples), rng)


def _drawn(layer: Any, x: Array, images: int, rng: np.random.Generator) -> Array:
    """Returns the inputs of some output positions of a batch: (rows, inputs)."""
    low, high = _ROWS
    wanted = min(max(_ROWS_PER_INPUT * len(_matrix(layer.kernel)), low), high)
    if isinstance(layer, keras.layers.Dense):
        x = x.reshape(len(x), -1, 1, x.shape[-1])
        kernel_size, settings = (1, 1), {}
    else:
        kernel_size = layer.kernel_size
        settings = {key: getattr(layer, key) for key in ("strides", "padding", "dilation_rate")}
    size = reconstruct.output_size(x.shape[1:3], kernel_size, **settings)
    count = min(-(-wanted // images), size[0] * size[1])
    at = np.argsort(rng.random((len(x), size[0] * size[1])), axis=1)[:, :count]
    return reconstruct.patches(x, at, kernel_size, **settings)


def _matrix(kernel: Any) -> Array:
    """Returns a kernel as (inputs, outputs)."""
    return _numpy(kernel).reshape(-1, kernel.shape[-1])


def _numpy(x: Any) -> Array:
    return np.asarray(keras.ops.convert_to_numpy(x), np.float32)
