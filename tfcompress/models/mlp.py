"""Builds a multilayer perceptron, for tables and other vectors."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.models.blocks import drop, scaled

NATIVE_SIZE = 32
INPUT_RANKS = (1, 2, 3)
MIN_OUTPUTS = 1


def build(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    hidden: tuple[int, ...] = (128, 128, 128),
    dropout: float = 0.1,
    output_mean: tuple[float, ...] = (),
    output_std: tuple[float, ...] = (),
) -> keras.Model:
    """Builds dense layers, each with ReLU and dropout, and a last dense layer without.

    The paper's MLP, a strong baseline for tables; it tunes depth, widths and dropout for each
    table, and these are values within its search space. With 8 inputs and 1 output: 34,305
    parameters and 33,920 MACs.

    Args:
        input_shape: of a table (columns,); of other shapes all values side by side.
        num_classes: units of the last layer: classes, or values to predict.
        width: scales all hidden layers.
        hidden: units of each hidden layer.
        dropout: share of the features dropped behind each hidden layer.
        output_mean: of the values to predict, so that the network learns how far they are from it;
            none for classes.
        output_std: likewise their standard deviation.

    Reference:
        Gorishniy et al. 2021, "Revisiting Deep Learning Models for Tabular Data",
        arXiv:2106.11959, section 3.1.
    """
    require(
        len(hidden) > 0 and all(isinstance(units, int) and units > 0 for units in hidden),
        f"hidden must be units of one or more layers, each positive; got {hidden}",
    )
    for name, values in (("output_mean", output_mean), ("output_std", output_std)):
        require(
            len(values) in (0, num_classes),
            f"{name} must have a value for each of {num_classes} outputs; got {len(values)}",
        )
    x = inputs = keras.Input(input_shape, name="features")
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, start=1):
        x = keras.layers.Dense(scaled(units, width), name=f"dense{number}")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
        x = drop(x, dropout, f"dropout{number}")
    outputs = keras.layers.Dense(num_classes, name="logits")(x)
    if output_mean or output_std:
        mean, std = list(output_mean) or 0.0, list(output_std) or 1.0
        outputs = keras.layers.Rescaling(std, offset=mean, name="values")(outputs)
    return keras.Model(inputs, outputs, name="mlp")
