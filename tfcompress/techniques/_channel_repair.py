"""Makes up for channels that were cut out, by what real examples show: no labels, no training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tfcompress.deferred import keras
from tfcompress.ops import reconstruct
from tfcompress.techniques import _layer_inputs as layer_inputs
from tfcompress.techniques._layer_inputs import as_matrix

if TYPE_CHECKING:
    from tfcompress.graph.channels import ChannelGraph

Array = np.ndarray


class Repair:
    """Fits the layers that take fewer channels to what they gave before.

    Convolutions over images and dense layers that are called once are fitted; others stay as they
    are.

    Args:
        graph: of the model as it was.
        small: the smaller model, whose weights change.
        kept: group names to the channels that stayed.
        samples: examples in the structure of the model's inputs.
    """

    def __init__(
        self, graph: ChannelGraph, small: keras.Model, kept: Mapping[str, Array], samples: Any
    ) -> None:
        from tfcompress.graph import Graph

        self._whole, self._small, self._samples = graph.model, small, samples
        self._flow = Graph.of(graph.model)
        # Layer name to masks of the channels that it takes, and of those that it makes, that stay.
        self.layers: dict[str, tuple[Array, Array]] = {}
        for name, layer in self._flow.operations.items():
            if layer_inputs.can_be_fitted(layer) and self._flow.calls[name] == 1:
                taken, made = (_staying(graph, kept, name, "kernel", axis) for axis in (-2, -1))
                if not taken.all():
                    self.layers[name] = taken, made
        targets: dict[str, list[Array]] = {}
        self._means: dict[str, list[Array]] = {}
        for name, rows in layer_inputs.rows(graph.model, set(self.layers), samples):
            outputs = rows @ as_matrix(graph.model.get_layer(name).kernel)[:, self.layers[name][1]]
            targets.setdefault(name, []).append(outputs)
            self._means.setdefault(name, []).append(rows.mean(0))
        self._targets = {name: np.concatenate(parts) for name, parts in targets.items()}

    def by_means(self) -> None:
        """Adds to each layer's outputs what the channels that are gone gave on average."""
        for name, (taken, made) in self.layers.items():
            kernel = as_matrix(self._whole.get_layer(name).kernel)
            gone = np.tile(~taken, len(kernel) // len(taken))
            mean = np.mean(self._means[name], axis=0)
            self._add(name, mean[gone] @ kernel[gone][:, made])

    def by_least_squares(self) -> dict[str, float]:
        """Solves for the kernels whose responses are nearest to those of the whole layers.

        Each layer is fitted to what it takes from the layers fitted before it. Where a bias or a
        batch normalisation behind can make the means equal, only deviations from them are fitted.

        Returns:
            Layer name to the relative error of the responses that is left.
        """
        errors = {}
        for name in self.layers:
            layer = self._small.get_layer(name)
            width = as_matrix(self._whole.get_layer(name).kernel).shape[0]
            rows = layer_inputs.rows(self._small, {name}, self._samples, width)
            inputs, outputs = np.concatenate([x for _, x in rows]), self._targets[name]
            means = np.zeros(inputs.shape[1]), np.zeros(outputs.shape[1])
            if layer.use_bias or self._norm_behind(name):
                means = inputs.mean(0), outputs.mean(0)
            inputs, outputs = inputs - means[0], outputs - means[1]
            kernel = reconstruct.regress(inputs, outputs, as_matrix(layer.kernel))
            layer.kernel.assign(kernel.reshape(layer.kernel.shape).astype(np.float32))
            self._add(name, means[1] - means[0] @ kernel)
            errors[name] = reconstruct.response_error(inputs, outputs, kernel)
        return errors

    def _add(self, name: str, shift: Array) -> None:
        """Adds to a layer's outputs: to its bias, or by the batch normalisation behind, if any."""
        layer, norm = self._small.get_layer(name), self._norm_behind(name)
        shift = shift.astype(np.float32)
        if layer.use_bias:
            layer.bias.assign_add(shift)
        elif norm is not None:
            norm.moving_mean.assign_sub(shift)

    def _norm_behind(self, name: str) -> Any:
        """Returns the batch normalisation that alone takes a layer's outputs; None without one."""
        norm = self._flow.only_consumer(name)
        layer = self._small.get_layer(norm) if norm else None
        return layer if isinstance(layer, keras.layers.BatchNormalization) else None


def _staying(
    graph: ChannelGraph, kept: Mapping[str, Array], name: str, path: str, axis: int
) -> Array:
    """Returns a mask of the entries of an axis of a layer's weight that stay."""
    shape = getattr(graph.model.get_layer(name), path).shape
    axis %= len(shape)
    mask = np.ones(shape[axis], bool)
    for group, channels in kept.items():
        for part in graph.groups[group].slices:
            if (part.layer, part.path, part.axis) == (name, path, axis):
                mask &= (part.channels < 0) | np.isin(part.channels, channels)
    return mask
