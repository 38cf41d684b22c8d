"""Builds the autoencoder of MLPerf Tiny's anomaly detection."""

from __future__ import annotations

from tfcompress.deferred import keras
from tfcompress.errors import require
from tfcompress.models.blocks import scaled

NATIVE_SIZE = 32
INPUT_RANKS = (1, 2, 3)
MIN_OUTPUTS = 1


def build(
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    width: float = 1.0,
    hidden: tuple[int, ...] = (128, 128, 128, 128, 8, 128, 128, 128, 128),
) -> keras.Model:
    """Builds dense layers, each with BN and ReLU, narrow in the middle, and a last dense layer.

    What it can't give back is unlike what it was trained on: an anomaly. The benchmark's reference
    model takes 640 values of a spectrogram, 5 frames of 128 bands in decibels, not normalised. With
    640 inputs and outputs: 267,928 parameters (269,992 with batch normalisation's moving
    statistics) and 264,192 MACs.

    Args:
        input_shape: (values,); of other shapes all values side by side.
        num_classes: units of the last layer: as many as there are inputs, to give them back.
        width: scales all hidden layers, to multiples of 8.
        hidden: units of each hidden layer.

    Reference:
        Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597, section 4; the network is
        that of Koizumi et al. 2020, "DCASE2020 Challenge Task 2", arXiv:2006.05822.
    """
    require(
        len(hidden) > 0 and all(isinstance(units, int) and units > 0 for units in hidden),
        f"hidden must be units of one or more layers, each positive; got {hidden}",
    )
    x = inputs = keras.Input(input_shape, name="features")
    if len(input_shape) > 1:
        x = keras.layers.Flatten(name="flatten")(x)
    for number, units in enumerate(hidden, start=1):
        x = keras.layers.Dense(scaled(units, width), name=f"dense{number}")(x)
        x = keras.layers.BatchNormalization(name=f"dense{number}_bn")(x)
        x = keras.layers.ReLU(name=f"relu{number}")(x)
    outputs = keras.layers.Dense(num_classes, name="values")(x)
    return keras.Model(inputs, outputs, name="toy_autoencoder")
