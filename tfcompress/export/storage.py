"""How weights can be written into a `.tflite` file, by name."""

from __future__ import annotations

import dataclasses

from tfcompress.errors import InputError, unknown_name
from tfcompress.tflite.compatibility import LCE_OPS, XNOR_OPS

_NONE = float("inf")


@dataclasses.dataclass(frozen=True)
class Storage:
    """One way to write weights.

    Attributes:
        name: the value of `--storage`.
        summary: one line for `--list`, with what it costs.
        activations: how binary inputs are written: `signed` (-1, +1) or `unit` (0, 1).
        quantize: what is rounded: `none`, `bits` (nothing, but binary weights are packed), `half`
            (weights, to 16-bit floats), `binary` (integer weights for products whose inputs are
            bits and whose weights are binary), `all` (integer weights for every convolution and
            dense op), `static` (integer weights and activations, with ranges taken from images) or
            `trained` (integer weights and activations, with ranges from a training).
        max_abs: the largest difference of an output from Keras's that the parity check lets
            through, as a share of the largest output.
        min_agreement: the share of images whose label must be Keras's.
        max_relative_rms: what `Parity.relative_rms` may be.
        custom_ops: ops that LiteRT doesn't have, which the file then needs.
        runtime: who has them and runs the file instead of LiteRT; empty if they are of a delegate
            of ours, which LiteRT is given with the file.
        hint: what to do where a file differs too much from Keras, if it isn't the same for all.
        second: the storage of the file's second signature, where it has two: the first one is then
            of stock ops and for everybody, and what stands here is of the first.
        weight_bits: of `static`: 8, or 4 for the ops of `convert.FOUR_BITS`; of `binary` and `all`:
            8, or the fewest of `low_bits.choose`.
    """

    name: str
    summary: str
    activations: str
    quantize: str
    max_abs: float
    min_agreement: float
    max_relative_rms: float = _NONE
    weight_bits: int = 8
    custom_ops: tuple[str, ...] = ()
    runtime: str = ""
    hint: str = ""
    second: str = ""

    @property
    def rounds(self) -> bool:
        """Whether values before the last layer differ from Keras's by more than float rounding."""
        return self.quantize in ("half", "all", "static")

    @property
    def integer(self) -> bool:
        """Whether all ops are meant to compute in integers."""
        return self.quantize in ("static", "trained")


STORAGES = {
    storage.name: storage
    for storage in (
        Storage(
            name="float32",
            summary="4 bytes a weight; exact",
            activations="signed",
            quantize="none",
            max_abs=1e-5,
            min_agreement=1.0,
        ),
        Storage(
            name="float16",
            summary="2 bytes a weight, computed as float32; outputs differ by less than 0.1%",
            activations="unit",
            quantize="half",
            max_abs=5e-3,
            min_agreement=0.98,
            max_relative_rms=2e-3,
        ),
        Storage(
            name="int8",
            summary=(
                "1 byte a weight and activation, integers throughout, ranges taken from training "
                "images (or from the training itself: qat); outputs differ by 1 to 5%. Of a "
                "network with binary inputs only the binary layers' weights, without error"
            ),
            activations="signed",
            quantize="static",
            max_abs=0.5,
            min_agreement=0.9,
            max_relative_rms=0.15,
        ),
        Storage(
            name="int8_int4",
            summary=(
                "as int8, with half a byte a weight of convolutions and dense layers (depthwise "
                "ones keep 1 byte); about as slow as float32, and outputs differ by about 10%: see "
                "the technique mixed"
            ),
            activations="signed",
            quantize="static",
            max_abs=1.0,
            min_agreement=0.75,
            max_relative_rms=0.5,
            weight_bits=4,
            hint="int8 and the technique mixed give layers more bits",
        ),
        Storage(
            name="dynamic",
            summary=(
                "1 byte a weight of every convolution and dense layer (depthwise ones stay floats "
                "beside others), activations quantised to 8 bits as the file runs; outputs differ "
                "by about 1%"
            ),
            activations="unit",
            quantize="all",
            max_abs=0.1,
            min_agreement=0.95,
        ),
        Storage(
            name="int4",
            summary=(
                "half a byte a weight of dense layers and convolutions where they aren't slower "
                "than with floats, which the export measures; 1 byte elsewhere. Activations as in "
                "dynamic; outputs differ by about 10%, those of binary layers not. Of a network "
                "with binary inputs only the binary layers' weights, without error"
            ),
            activations="unit",
            quantize="all",
            max_abs=1.0,
            min_agreement=0.75,
            max_relative_rms=0.5,
            weight_bits=4,
        ),
        Storage(
            name="int2",
            summary=(
                "as int4, a quarter of a byte a binary or ternary weight and 1 byte any other; "
                "only the newest runtimes (LiteRT 2.1) take it"
            ),
            activations="unit",
            quantize="all",
            max_abs=0.1,
            min_agreement=0.95,
            weight_bits=2,
        ),
        Storage(
            name="1bit",
            summary=(
                "1 bit a binary weight, unpacked once as the file is loaded (to integers in dense "
                "layers of signs, else to floats), 4 bytes any other; exact. Convolutions take 1.1 "
                "to 1.5 of float32's latency and no less memory, dense layers of signs 0.4 to 0.9"
            ),
            activations="signed",
            quantize="bits",
            max_abs=1e-5,
            min_agreement=1.0,
        ),
        Storage(
            name="lce",
            summary=(
                "1 bit a weight of binary convolutions with binary inputs, for ARM phones that run "
                "larq-compute-engine instead of LiteRT. From Python only (tfcompress.export), and "
                "with larq-compute-engine 0.16 in an environment of its own"
            ),
            activations="signed",
            quantize="bits",
            # Equal to 1e-6 but where rounding turns a sign, which can't be seen inside that
            # runtime: one turned sign moved an image's outputs by 1% of their rms.
            max_abs=0.1,
            min_agreement=0.98,
            max_relative_rms=0.01,
            custom_ops=LCE_OPS,
            runtime="larq-compute-engine",
        ),
        Storage(
            name="xnor",
            summary=(
                "1 bit a weight of layers with binary inputs and weights, 4 bytes any other; "
                "exact. Multiplied as bits by tfcompress's own kernels, which a C compiler builds "
                "once on each machine: LiteRT alone, phones' apps and GPUs don't run the file"
            ),
            activations="signed",
            quantize="none",
            max_abs=1e-5,
            min_agreement=1.0,
            custom_ops=XNOR_OPS,
        ),
        Storage(
            name="xnor+int8",
            summary=(
                "a network with binary inputs and weights in two forms, int8 by default and xnor "
                "as a second signature of the same file: runs in every LiteRT app but MediaPipe's, "
                "and as bits where tfcompress loads it and its kernels are; exact. The bytes of "
                "both, less what they share"
            ),
            activations="unit",
            quantize="binary",
            max_abs=1e-5,
            min_agreement=1.0,
            second="xnor",
        ),
        Storage(
            name="sparse",
            summary=(
                "float weights without their zeros, 5 to 6 bytes each of the others, where that is "
                "smaller: for prune; exact. As fast as float32 and no less memory, but for dense "
                "layers of which at least 80% is zero in blocks of 4 inputs: those are faster"
            ),
            activations="signed",
            quantize="none",
            max_abs=1e-5,
            min_agreement=1.0,
        ),
    )
}

# What these are for a network with binary inputs. Integers before a sign would turn many of them,
# so that everything else stays float; the binary activations are written as 0 and 1.
BINARY = {
    name: dataclasses.replace(
        STORAGES[name],
        quantize="binary",
        activations="unit",
        max_abs=1e-5,
        min_agreement=1.0,
        max_relative_rms=_NONE,
    )
    for name in ("int8", "int4", "int2")
}

# What `int8` is for a network with `FakeQuantize` layers. The file rounds at the same places as
# Keras, but in another order of operations: values at the border of two steps of a grid fall to
# either side, and layers behind them see that: 0.001 to 0.03 of the outputs' rms in trained
# networks, 0.08 in an EfficientNetB0 after a few steps.
TRAINED = dataclasses.replace(
    STORAGES["int8"],
    quantize="trained",
    max_abs=0.25,
    min_agreement=0.9,
    max_relative_rms=0.1,
)


# What `float32` is for a network with `MinMaxQuantize` layers, for the same reason.
SIMULATED = dataclasses.replace(
    STORAGES["float32"], max_abs=0.1, min_agreement=0.95, max_relative_rms=0.02
)


def storage_of(
    name: str,
    *,
    fake_quantized: bool = False,
    binary_inputs: bool = False,
    simulated: bool = False,
) -> Storage:
    """A storage by name, as it is for this kind of network.

    Args:
        name: of `STORAGES`.
        fake_quantized: whether the network was trained for 8 bits.
        binary_inputs: whether it has layers with binary inputs.
        simulated: whether it has layers that round in floats.

    Raises:
        InputError: no storage has that name, or a network trained for 8 bits is to be written
            otherwise.
    """
    if name not in STORAGES:
        raise unknown_name("storage", name, STORAGES)
    if fake_quantized:
        if name != "int8":
            raise InputError(
                f"storage {name} can't hold a model with FakeQuantize layers, which round to 8 "
                "bits at every layer: use int8"
            )
        return TRAINED
    if simulated:
        if name != "float32":
            raise InputError(
                f"storage {name} can't hold a model with MinMaxQuantize layers, which simulate "
                "8 bits in floats: use float32"
            )
        return SIMULATED
    return BINARY[name] if name in BINARY and binary_inputs else STORAGES[name]
