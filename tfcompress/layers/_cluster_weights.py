"""A wrapper that lets the weights of a layer share a few values while they are trained.

It is no layer for a network's builder, but what `tfcompress.prepare` puts around layers. It lives
here so that a model saved in the middle of its training can be loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tfcompress.ops import clustering
from tfcompress.ops.centroids import first_values


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerClustering:
    """Says how the weights of one layer are clustered.

    Attributes:
        clusters: values that a kernel may have.
        centroids: how the values are found first: `kmeans++`, `density`, `linear` or `random`.
        preserve_sparsity: whether zeros stay zero; they are one of the values.
        per_channel: whether each channel, the kernel's last axis, has values of its own.
    """

    clusters: int
    centroids: str = "kmeans++"
    preserve_sparsity: bool = False
    per_channel: bool = False


@keras.saving.register_keras_serializable("tfcompress")
class ClusterWeights(keras.layers.Wrapper):
    """Calls a layer with kernels whose weights share a few values.

    ```
    forward   W' = c[i],  i = argmin_j |W - c_j|
    gradient  dL/dW = dL/dW',  dL/dc_j = sum of dL/dW' over the weights with i = j
    ```

    The layer's own kernels are the latent weights W. Both they and the values c are trained by
    whatever optimizer trains the model; at each call a weight takes the value that is nearest now.
    A layer that is frozen keeps its latent weights; its values are trained, as TFMOT does.

    Args:
        layer: any layer. If it is built, the values begin around its weights as they are.
        clusters: values that a kernel may have.
        kernels: places in `layer.weights` of the kernels that are clustered.
        centroids: how the values are found first: `kmeans++`, `density`, `linear` or `random`.
        preserve_sparsity: whether weights that are zero now stay zero.
        per_channel: whether each channel, the kernel's last axis, has values of its own.
        **kwargs: of `keras.layers.Layer`; the name is the layer's if none is given.

    Reference:
        Han, Mao, Dally 2016, "Deep Compression", arXiv:1510.00149, section 3.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        clusters: int = 16,
        *,
        kernels: Sequence[int] = (0,),
        centroids: str = "kmeans++",
        preserve_sparsity: bool = False,
        per_channel: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", layer.name)
        # The layer casts its inputs and weights; latent weights keep their precision until then.
        super().__init__(layer, autocast=False, **kwargs)
        self.settings = LayerClustering(
            clusters=clusters,
            centroids=centroids,
            preserve_sparsity=preserve_sparsity,
            per_channel=per_channel,
        )
        self.places = tuple(kernels)
        self.supports_masking = layer.supports_masking
        if layer.built:
            self.build()

    def build(self, input_shape: Any = None) -> None:
        """Finds the first values among the weights."""
        super().build(input_shape)
        # Of each kernel: its values and, if zeros are kept, 1 for each weight and each value that
        # may be another number.
        self.values: list[keras.Variable] = []
        self.weights_left: list[keras.Variable] = []
        self.values_left: list[keras.Variable] = []
        settings = self.settings
        for number, kernel in enumerate(self.kernels):
            weights = ops.convert_to_numpy(kernel)
            values = first_values(
                weights,
                settings.clusters,
                settings.centroids,
                with_zero=settings.preserve_sparsity,
                per_channel=settings.per_channel,
            )
            self.values.append(self._constant(f"centroids_{number}", values, trainable=True))
            if settings.preserve_sparsity:
                shared = ops.convert_to_numpy(clustering.share(weights, values))
                weights_left = self._constant(f"weights_left_{number}", shared != 0)
                self.weights_left.append(weights_left)
                sizes = abs(values)
                smallest = sizes.argmin(-1, keepdims=True)
                is_other = smallest != range(settings.clusters)
                self.values_left.append(self._constant(f"centroids_left_{number}", is_other))

    def _constant(self, name: str, value: Any, *, trainable: bool = False) -> keras.Variable:
        return self.add_weight(
            shape=value.shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(value, dtype),
            trainable=trainable,
            name=name,
        )

    @property
    def kernels(self) -> list[keras.Variable]:
        """The latent weights that are clustered."""
        return [self.layer.weights[place] for place in self.places]

    @property
    def activation(self) -> Any:
        """The layer's activation function, if it has one."""
        return getattr(self.layer, "activation", None)

    def shared_kernels(self) -> list[Any]:
        """Returns the kernels that the layer computes with, as they are now."""
        shared = []
        for number, kernel in enumerate(self.kernels):
            weights = ops.convert_to_tensor(kernel)
            values = ops.convert_to_tensor(self.values[number])
            if self.settings.preserve_sparsity:
                weights = weights * self.weights_left[number]
                values = values * self.values_left[number]
            shared.append(clustering.share(weights, values))
        return shared

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer with the shared weights in the place of its own."""
        kernels = self.kernels
        clustered = {id(kernel) for kernel in kernels}
        others = [each for each in self.layer.variables if id(each) not in clustered]
        values = [(each, ops.convert_to_tensor(each)) for each in others]
        shared = list(zip(kernels, self.shared_kernels(), strict=True))
        with keras.StatelessScope([*shared, *values], collect_losses=True) as scope:
            before = [scope.get_current_value(each) for each in others]
            outputs = self.layer(inputs, *args, **kwargs)
        # What the call changed beside its outputs: random generators, the state of a recurrent
        # layer, losses.
        for variable, value in zip(others, before, strict=True):
            after = scope.get_current_value(variable)
            if after is not value:
                variable.assign(after)
        for loss in scope.losses:
            self.layer.add_loss(loss)
        return outputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer's."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Returns the layer's."""
        return self.layer.compute_output_shape(*args, **kwargs)

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Returns the layer's."""
        return self.layer.compute_mask(inputs, previous_mask)

    def lower(self, **options: Any) -> keras.layers.Layer:
        """Returns the layer without the wrapper, its kernels holding the shared values."""
        plain = type(self.layer).from_config(self.layer.get_config())
        plain.build_from_config(self.layer.get_build_config())
        weights = self.layer.get_weights()
        for place, kernel in zip(self.places, self.shared_kernels(), strict=True):
            weights[place] = ops.convert_to_numpy(kernel)
        plain.set_weights(weights)
        return plain

    def get_build_config(self) -> Any:
        """Returns the layer's."""
        return self.layer.get_build_config()

    def build_from_config(self, config: Any) -> None:
        """Builds the layer, if it isn't."""
        if not self.layer.built:
            self.layer.build_from_config(config)
        if not self.built:
            self.build()

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        settings = dataclasses.asdict(self.settings)
        return {**super().get_config(), "kernels": list(self.places), **settings}
