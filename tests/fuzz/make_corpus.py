"""Makes the files that the fuzzer changes: a tiny net in each storage, a report, a run's settings.

    .venv/bin/python -m tests.fuzz.make_corpus

They are kept in `corpus/`, so that input n of a seed is the same bytes on every machine.
"""

import json
import pathlib
import warnings

import keras
import numpy as np

import tfcompress
from tests.kernels import mutants
from tests.report.conftest import BASELINE, COMPRESSED, rows
from tfcompress.errors import ExportError, InputError
from tfcompress.export import low_bits
from tfcompress.layers import BinaryConv2D, BinaryDense
from tfcompress.report.result import RunResult
from tfcompress.tflite.metadata import Metadata

CORPUS = pathlib.Path(__file__).parent / "corpus"
STORAGES = ("float32", "float16", "dynamic", "int8", "int8_int4", "int4", "int2", "sparse")
METADATA = Metadata(
    name="net",
    description="a tiny net",
    version="1",
    author="tests",
    licence="none",
    labels=("cross", "stripe", "ring"),
    mean=(100.0, 110.0, 120.0),
    std=(50.0, 60.0, 70.0),
)


def float_net():
    """A convolution, a depthwise one and a dense layer."""
    layers = keras.layers
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    x = layers.DepthwiseConv2D(3, strides=2, padding="same")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(32, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def binary_net():
    """The same with layers of signs."""
    layers = keras.layers
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Conv2D(8, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = BinaryConv2D(16, 3, padding="same")(x)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = BinaryDense(16)(x)
    x = layers.BatchNormalization()(x)
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))


def write_models():
    """Exports both nets in every storage that takes them."""
    images = np.random.default_rng(0).normal(size=(64, 6, 6, 3)).astype("float32")
    binary = [(name, binary_net) for name in ("1bit", "xnor", "xnor+int8")]
    for storage, build in [*((name, float_net) for name in STORAGES), *binary]:
        keras.utils.set_random_seed(1)
        net = build()
        if storage in _VALUES:
            _change(net, _VALUES[storage])
        path = CORPUS / f"{storage.replace('+', '_')}.tflite"
        # Untrained, signs differ from Keras's here and there, which is no matter here.
        options = {"representative": images, "metadata": METADATA, "strict": False}
        try:
            tfcompress.export(net, path, storage=storage, **options)
        except (InputError, ExportError) as error:
            print(f"{storage}: {error}")
    for number, content in enumerate(mutants.originals()):
        (CORPUS / f"bit_ops_{number}.tflite").write_bytes(content)


# Storages that take only some weights: what makes of others those that they take.
_VALUES = {
    "sparse": lambda kernel: np.where(
        np.abs(kernel) > np.quantile(np.abs(kernel), 0.85), kernel, 0
    ),
    "int2": lambda kernel: np.rint(kernel / np.abs(kernel).max()) * 0.125,
}


def _change(net, change):
    for layer in net.layers:
        if layer.weights:
            kernel, *rest = layer.get_weights()
            layer.set_weights([change(kernel), *rest])


def write_reports():
    """Writes the report of a run with one file, of one with two, and the settings of a run."""
    two = [COMPRESSED, {"path": "compressed-xnor.tflite", "storage": "xnor"}]
    two[1] = type(COMPRESSED)(**{**vars(COMPRESSED), **two[1]})
    for name, files in (("one", two[:1]), ("two", two)):
        result = RunResult(
            technique="int8",
            model="vgg_small",
            dataset="fashion_mnist_small",
            seed=3,
            baseline=BASELINE,
            files=files,
            created="2026-01-31T12:00:00+00:00",
            reference="Somebody 2017, arXiv:1712.05877",
            test_images=2000,
            machine={"cpu": "a processor", "cores": 2, "features": ["avx2"]},
            layers=[{"name": "conv_1", "kind": "Conv2D", "action": "int8", "reason": ""}],
            histories={"baseline": rows(0.5), "compressed": rows(0.6)},
            versions={"keras": "3.12.0"},
            notes=["a note"],
        )
        text = json.dumps(result.to_json(), indent=1) + "\n"
        (CORPUS / f"report_{name}.json").write_text(text)


def main():
    warnings.simplefilter("ignore")
    low_bits._latencies = lambda *_: (
        1.0,
        0.5,
    )  # Few bits are written, whether or not they are fast.
    CORPUS.mkdir(exist_ok=True)
    write_models()
    write_reports()


if __name__ == "__main__":
    main()
