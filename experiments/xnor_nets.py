"""Times whole binary nets with the 1-bit kernels beside float and int8 XNNPACK, in turns.

Run:

    .venv/bin/python experiments/xnor_nets.py --output=build/xnor_nets

About twenty minutes. Weights are random, which neither size nor latency depends on. Batch
normalisations and biases get values as after training: with their first ones many sums of signs
are 0 but for rounding, and any two runtimes round them to different sides. `bi_real` is a
Bi-Real net with the layout of ResNet-18 (Liu et al. 2018, arXiv:1808.00278): signs, a 3x3
convolution with binary weights, BN, and a shortcut around each; the stem, the shortcuts' 1x1
convolutions and the last layer stay float. Its float net has ReLUs in place of the signs, behind
BN, where they cost nothing. `vgg_s, convs` is VGG-S without its dense layers. Nets with 8-bit ends
have a first convolution and a last dense layer whose weights, and the convolution's inputs, are
rounded to 8 bits, as `xnor --set end_bits=8` makes them; 2-bit inputs are those of
`--set activation_bits=2`, of the layers between them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from keras import layers
from measurements import Measurements, Row, conduct, parser, single
from page import Page
from storage import LARGE, SMALL, Build, network, unlike

import tfcompress
from tfcompress.benchmark.latency import Latency, latency
from tfcompress.layers import BinaryConv2D, FakeQuantize, LearnedStepWeights
from tfcompress.runtime import LiteModel

KINDS = ("float32", "int8", "signs", "1bit", "xnor")
# Of the largest output; a sign that is turned makes more.
ROUNDING = 1e-4


def bi_real(kind: str) -> keras.Model:
    """Builds ResNet-18 with a shortcut around each 3x3 convolution, binary but for kind `float`.

    Kind `ends` has ends of 8 bits.
    """

    def normalised(x: keras.KerasTensor, relu: bool) -> keras.KerasTensor:
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x) if relu else x

    def block(x: keras.KerasTensor, filters: int, strides: int) -> keras.KerasTensor:
        conv = layers.Conv2D if kind == "float" else BinaryConv2D
        y = conv(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        if strides > 1:
            x = layers.AveragePooling2D(strides)(x)
            x = normalised(layers.Conv2D(filters, 1, use_bias=False)(x), False)
        return layers.Add()([normalised(y, kind == "float"), x])

    def end(layer: keras.Layer) -> keras.Layer:
        return LearnedStepWeights(layer, num_bits=8) if kind == "ends" else layer

    x = inputs = keras.Input(LARGE)
    if kind == "ends":
        x = FakeQuantize(-4.0, 4.0)(x)
    x = end(layers.Conv2D(64, 7, strides=2, padding="same", use_bias=False))(x)
    x = normalised(x, kind == "float")
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    for filters in (64, 128, 256, 512):
        for number in range(4):
            x = block(x, filters, strides=2 if filters > 64 and number == 0 else 1)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, end(layers.Dense(1000))(x), name="bi_real")


def by_xnor(build: Build, shape: tuple[int, ...], **options: int) -> Build:
    """Returns a builder of the same net, which is binary as `xnor` makes it with these options."""

    def made(kind: str) -> keras.Model:
        if kind == "float":
            return build(kind)
        net = tfcompress.transform(build("float"), "xnor", **options)
        # Ranges and scales of inputs are those of the first batch.
        net(np.random.default_rng(1).normal(size=(2, *shape)).astype("float32"), training=True)
        return net

    return made


def convolutions_only(build: Build, last: str) -> Build:
    """Returns a builder of the same net, which ends with a layer."""

    def cut(kind: str) -> keras.Model:
        net = keras.models.clone_model(build(kind))  # Rewriting leaves layers in two graphs.
        return keras.Model(net.inputs, net.get_layer(last).output)

    return cut


NETS: dict[str, Callable[[str], keras.Model]] = {
    "vgg_small": network("vgg_small", SMALL, 10),
    "vgg_small, width 4": network("vgg_small", SMALL, 10, width=4),
    "vgg_s": network("vgg_s", LARGE, 8),
    "vgg_s, convs": convolutions_only(network("vgg_s", LARGE, 8), "pool5"),
    "bi_real": bi_real,
    **{
        f"{name}{how}": by_xnor(network(builder, shape, classes, **width), shape, **options)
        for how, options in (
            (", 8-bit ends", {"end_bits": 8}),
            (", 2-bit inputs", {"activation_bits": 2}),
            (", 2-bit inputs, 8-bit ends", {"activation_bits": 2, "end_bits": 8}),
        )
        for name, builder, shape, classes, width in (
            ("vgg_small", "vgg_small", SMALL, 10, {}),
            ("vgg_small, width 4", "vgg_small", SMALL, 10, {"width": 4}),
            ("vgg_s", "vgg_s", LARGE, 8, {}),
        )
    },
    "bi_real, 8-bit ends": lambda kind: bi_real("ends" if kind == "xnor" else kind),
}


def files(folder: Path, build: Build, images: np.ndarray) -> tuple[dict[str, Path], keras.Model]:
    """Writes the files; returns them by kind, and the binary net that three of them are of."""
    paths = {kind: folder / f"{kind}.tflite" for kind in KINDS}
    keras.utils.set_random_seed(0)
    plain = unlike(build("float"))
    tfcompress.export(plain, paths["float32"])
    # Without images to compare on: an untrained net's labels are a matter of rounding.
    tfcompress.export(plain, paths["int8"], storage="int8", calibration=images, io="int8")
    keras.utils.set_random_seed(0)
    binary = unlike(build("xnor"))
    tfcompress.export(binary, paths["signs"])
    tfcompress.export(binary, paths["1bit"], storage="1bit", calibration=images)
    tfcompress.export(binary, paths["xnor"], storage="xnor", calibration=images)
    return paths, binary


def equal(got: np.ndarray, right: np.ndarray) -> int:
    """Counts the images whose outputs are the same but for rounding."""
    off = np.abs(got - right).reshape(len(got), -1).max(1) / np.abs(right).max()
    return int((off <= ROUNDING).sum())


def measured(name: str, runs: int, count: int) -> Row:
    """Measures one net's files."""
    build = NETS[name]
    with tempfile.TemporaryDirectory() as folder:
        shape = build("float").input_shape[1:]
        images = np.random.default_rng(0).normal(size=(count, *shape)).astype("float32")
        paths, binary = files(Path(folder), build, images)
        timed = [str(paths[kind]) for kind in ("float32", "int8", "xnor", "signs")]
        base, int8, bits, signs = latency(timed, runs=runs)
        over = latency(timed[1:3], runs=runs)[1]
        got, right = (LiteModel(str(paths[kind])).predict(images) for kind in ("xnor", "signs"))
        expected = binary.predict(images, verbose=0)
        sizes = {kind: path.stat().st_size for kind, path in paths.items()}
    return {
        "size_bytes": sizes["float32"],
        "smaller": {kind: sizes["float32"] / sizes[kind] for kind in ("int8", "1bit", "xnor")},
        "float_ms": base.latency_ms_p50,
        "int8_ms": int8.latency_ms_p50,
        "ms": bits.latency_ms_p50,
        "to_float": percentiles(bits),
        "to_int8": percentiles(over),
        "signs_to_float": signs.ratio,
        "as_signs": equal(got, right),
        "as_keras": equal(got, expected),
    }


def percentiles(file: Latency) -> list[float | None]:
    """Returns a ratio's median, 10th and 90th percentile; the latter are None of few rounds."""
    return [file.ratio, file.ratio_p10, file.ratio_p90]


def spread(values: list[float | None]) -> str:
    """Returns a ratio, with its percentiles if there were enough rounds."""
    middle, low, high = values
    if low is None or high is None:
        return f"{middle:.4f}"
    return f"{middle:.4f} ({low:.4f} to {high:.4f})"


def cells(row: Row, images: int) -> list[str]:
    """Returns a row's part of the table that was measured."""
    return [
        f"{row['size_bytes'] / 1024:,.1f}",
        *(f"{row['smaller'][kind]:.1f}" for kind in ("int8", "1bit", "xnor")),
        *(f"{row[kind]:.3f}" for kind in ("float_ms", "int8_ms", "ms")),
        spread(row["to_float"]),
        spread(row["to_int8"]),
        f"{row['signs_to_float']:.3f}",
        *(f"{row[name]} of {images}" for name in ("as_signs", "as_keras")),
    ]


def page_of(results: Measurements) -> Page:
    images = results.settings["images"]
    return Page(
        "Whole nets with the 1-bit kernels",
        "One thread, batch 1; all nets have random weights. Latencies are medians, ratios medians "
        "over rounds of all files in turns, with the 10th and 90th percentile. Sizes are the float "
        "net's file by the others': `1bit` is for the stock runtime, `xnor` for the 1-bit kernels. "
        "`signs` is the binary net as a float file, of which `xnor` was made; the last two columns "
        f"count the random images whose outputs in `xnor` are within {ROUNDING:g} of the largest "
        "output of that file and of Keras: elsewhere a value near 0 was rounded to the other side "
        "before a sign.",
        ["net", "float32, KiB", "int8 smaller", "1bit smaller", "xnor smaller", "float32, ms",
         "int8, ms", "xnor, ms", "xnor to float32", "xnor to int8", "signs to float32",
         "as `signs`", "as Keras"],
        [([name, *cells(results[name], images)], [name]) for name in NETS if name in results],
    )  # fmt: skip


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--only", default="", help="nets whose names hold this")
    flags.add_argument("--runs", type=int, default=200, help="timed inferences of each file")
    flags.add_argument("--images", type=int, default=16, help="to compare outputs on")
    flags = flags.parse_args()
    steps = [
        single(name, measured, name, flags.runs, flags.images)
        for name in NETS
        if flags.only in name
    ]
    conduct(flags, steps, page_of, settings={"runs": flags.runs, "images": flags.images})


if __name__ == "__main__":
    main()
