"""Holds what all layers share whose kernel is a product of smaller ones."""

from __future__ import annotations

import abc
from typing import Any, Self

import keras
import numpy as np
from keras import ops


class Factorised(keras.layers.Layer, abc.ABC):
    """Computes a convolution or dense layer whose kernel is a product of factors.

    Attributes:
        replaces: the built-in layer that it takes the place of.
        decomposition_error: `||K - K~|| / ||K||` for a layer made from another one, whose kernel
            K is; None for other layers.
    """

    replaces: type[keras.layers.Layer]
    from_layer: Any

    def __init__(
        self,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.decomposition_error: float | None = None

    @abc.abstractmethod
    def logical_kernel(self) -> Any:
        """Returns the kernel that the factors stand for, of the built-in layer's shape."""

    @abc.abstractmethod
    def logical_shape(self) -> tuple[int, ...]:
        """Returns the shape of the logical kernel, without making it."""

    @abc.abstractmethod
    def kernel_parameters(self, shape: tuple[int, ...]) -> int:
        """Counts the weights of the factors in place of a kernel of this shape."""

    def macs_without_zeros(self, input_shape: Any, output_shape: Any) -> int | None:
        """Counts multiply-accumulates but those with zeros of the layer's own; None without any."""
        return None

    @classmethod
    @abc.abstractmethod
    def full_rank(cls, shape: tuple[int, ...]) -> Any:
        """Returns the rank at which any kernel of this shape is held exactly."""

    @classmethod
    def rank_at(cls, step: int, shape: tuple[int, ...]) -> Any:
        """Returns the rank at a step of the way from 1 to full rank, for a kernel of this shape."""
        return step

    @classmethod
    def matrices(cls, kernel: np.ndarray) -> tuple[np.ndarray, ...]:
        """Returns the matrices whose ranks are this layer's; none if its rank isn't a matrix's."""
        return ()

    @classmethod
    def refusal(cls, layer: keras.layers.Layer) -> str | None:
        """Returns why a layer can't be replaced by this one, or None if it can."""
        if type(layer) is not cls.replaces:
            kind = cls.replaces.__name__
            return f"{type(layer).__name__} has no {cls.__name__} form: only {kind} has"
        return None

    @classmethod
    def _kernel_of(cls, layer: keras.layers.Layer) -> np.ndarray:
        """Returns the kernel to be decomposed."""
        why = cls.refusal(layer)
        if why or not layer.built:
            raise ValueError(f"layer '{layer.name}': {why or 'it has no weights yet: build it'}")
        return np.asarray(ops.convert_to_numpy(layer.kernel), np.float32)

    @classmethod
    def _like(cls, layer: keras.layers.Layer, **options: Any) -> Self:
        """Makes a layer with these options and, of a built-in layer, what isn't its kernel's."""
        names = ("activation", "use_bias", "bias_initializer", "bias_regularizer", "name")
        shared = {name: getattr(layer, name) for name in names}
        return cls(**{**shared, "dtype": layer.dtype_policy, **options})

    def _holding(self, weights: list[np.ndarray], error: float, layer: keras.layers.Layer) -> Self:
        """Builds this layer and gives it its factors and the built-in layer's bias."""
        self.build((*[None] * (len(layer.kernel.shape) - 1), layer.kernel.shape[-2]))
        bias = [ops.convert_to_numpy(layer.bias)] if layer.use_bias else []
        factors = len(self.trainable_weights) - len(bias)
        # Keras has weights that aren't trained behind all others.
        self.set_weights([*weights[:factors], *bias, *weights[factors:]])
        self.trainable = layer.trainable
        self.decomposition_error = error
        return self

    def _add_factor(self, name: str, shape: tuple[int, ...], initializer: Any = None) -> Any:
        """Adds a factor; the initializer None stands for the layer's kernel initializer."""
        if initializer is None:
            initializer = self.kernel_initializer
            if isinstance(initializer, keras.initializers.Initializer):
                initializer = initializer.clone()  # The same object gives the same values twice.
        return self.add_weight(
            name=name, shape=shape, initializer=initializer, regularizer=self.kernel_regularizer
        )

    def _add_cores(self, shapes: list[tuple[int, ...]], variance: float) -> list[Any]:
        """Adds the cores of a tensor-train whose product's values have this variance."""
        deviation = variance ** (0.5 / len(shapes))
        normal = keras.initializers.RandomNormal
        return [
            self._add_factor(f"core{number}", shape, normal(stddev=deviation))
            for number, shape in enumerate(shapes)
        ]

    def _add_bias(self, size: int) -> None:
        """Adds the bias, behind the factors; sets it to None if there is none."""
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(size,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again."""
        return {
            **super().get_config(),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
