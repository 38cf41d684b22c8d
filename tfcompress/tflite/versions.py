"""Which release of the runtime is the first that can run an op.

A runtime looks an op up by its name and version, and refuses a file whose version it doesn't know.
The version says which of the op's features a file uses, its types above all.

Facts from TensorFlow Lite's own tables, `runtime_version.cc` and `op_version.cc`, as of LiteRT
2.2 (github.com/google-ai-edge/LiteRT, tflite/converter/tools/versioning).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfcompress.tflite.content import FileContent, Op

# Op to the release of TensorFlow that first had each of its versions, from version 1 on. The ops
# are those that image classifiers from Keras are made of, and those that our storages add.
RELEASES = {
    name: tuple(releases.split())
    for name, releases in {
        "ABS": "1.13 2.4 2.5 2.6 2.12",
        "ADD": "1.5 1.14 2.4 2.6 2.13",
        "ADD_N": "1.14",
        "ARG_MAX": "1.9 1.14 2.9",
        "ARG_MIN": "1.9 1.14 2.9",
        "ASSIGN_VARIABLE": "2.6",
        "AVERAGE_POOL_2D": "1.5 1.14 2.3",
        "BATCH_MATMUL": "2.3 2.3 2.4 2.5",
        "BATCH_TO_SPACE_ND": "1.6 1.14 2.3 2.12",
        "BITCAST": "2.13",
        "BITWISE_XOR": "2.13",
        "BROADCAST_TO": "- 2.5 2.5",
        "CALL_ONCE": "2.5",
        "CAST": "1.5 2.7 2.8 2.9 2.12 2.15 2.17 2.21",
        "CEIL": "1.14",
        "CONCATENATION": "1.5 1.14 2.3 2.14 2.21",
        "CONV_2D": "1.5 1.14 1.14 2.3 2.4 2.9 2.11 2.15",
        "CUMSUM": "2.4",
        "DENSIFY": "2.2",
        "DEPTHWISE_CONV_2D": "1.5 1.12 1.14 2.2 2.3 2.3 2.11",
        "DEPTH_TO_SPACE": "2.1 2.5",
        "DEQUANTIZE": "1.13.1 1.14 1.15 2.2 2.7 2.18 2.21",
        "DIV": "1.6 2.3",
        "ELU": "1.14",
        "EMBEDDING_LOOKUP": "1.13 1.14 1.14 2.18 2.21",
        "EQUAL": "1.14 1.14 2.3 2.13 2.21",
        "EXP": "1.7 2.12",
        "EXPAND_DIMS": "1.10",
        "FILL": "1.13 2.3 2.5 2.12",
        "FLOOR": "1.9",
        "FLOOR_DIV": "1.14 1.14 2.13",
        "FLOOR_MOD": "1.13 2.13",
        "FULLY_CONNECTED": ("1.5 1.10 1.14 1.14 2.0 2.1 2.3 2.3 2.3 2.11 2.15 2.17 2.18 2.21"),
        "GATHER": "1.6 1.14 1.15 2.4 2.5 2.13 2.15",
        "GATHER_ND": "1.14 2.3 2.5 2.13 2.16",
        "GELU": "2.9 2.9",
        "GREATER": "1.14 1.14",
        "GREATER_EQUAL": "1.14 1.14 2.13",
        "HARD_SWISH": "1.15",
        "L2_NORMALIZATION": "1.5 1.14",
        "LEAKY_RELU": "1.13.1 2.3",
        "LESS": "1.14 1.14 2.13",
        "LESS_EQUAL": "1.14 1.14",
        "LOCAL_RESPONSE_NORMALIZATION": "1.5",
        "LOG": "1.14 2.15",
        "LOGICAL_AND": "1.11",
        "LOGICAL_NOT": "1.11",
        "LOGICAL_OR": "1.11",
        "LOGISTIC": "1.14 1.14 2.3",
        "LOG_SOFTMAX": "1.14 1.14",
        "MAXIMUM": "1.14 1.14 2.3 2.3",
        "MAX_POOL_2D": "1.5 1.14 2.3",
        "MEAN": "1.6 1.14 2.4",
        "MINIMUM": "1.14 1.14 2.3 2.3",
        "MIRROR_PAD": "1.13.1 2.3 2.12",
        "MUL": "1.5 1.14 1.15 2.3 2.6 2.11 2.13",
        "NEG": "1.9",
        "NOT_EQUAL": "1.14 1.14 2.3 2.21",
        "ONE_HOT": "1.11",
        "PACK": "1.11 1.14 2.3 2.13",
        "PAD": "1.5 1.14 2.4 2.6 2.20",
        "PADV2": "1.9 1.14 2.4 2.6 2.20",
        "POW": "1.10",
        "PRELU": "1.8",
        "QUANTIZE": "1.14 1.15 2.7 2.21 2.21 2.21",
        "READ_VARIABLE": "2.6",
        "REDUCE_MAX": "1.11 1.14 2.5",
        "REDUCE_MIN": "1.11 1.14 2.5",
        "REDUCE_PROD": "1.11 2.6",
        "RELU": "1.5 2.1 2.5",
        "RELU6": "1.5 1.14 2.5",
        "RELU_0_TO_1": "2.10",
        "RELU_N1_TO_1": "1.5",
        "RESHAPE": "1.5",
        "RESIZE_BILINEAR": "1.7 1.14 2.2 2.5",
        "RESIZE_NEAREST_NEIGHBOR": "1.13.1 1.14 2.3 2.4",
        "REVERSE_V2": "1.14 2.2 2.5",
        "RIGHT_SHIFT": "2.13",
        "ROUND": "1.14",
        "RSQRT": "1.10 2.5 2.15",
        "SELECT": "1.14 1.14 2.12 2.12",
        "SELECT_V2": "2.2 2.12",
        "SHAPE": "1.10",
        "SIGN": "2.11 2.12",
        "SIN": "1.9",
        "SLICE": "1.14 1.14 1.14 2.4 2.5 2.14 2.21",
        "SOFTMAX": "1.5 1.14 2.3",
        "SPACE_TO_BATCH_ND": "1.6 1.14 2.3 2.12",
        "SPACE_TO_DEPTH": "1.5 1.14",
        "SPLIT": "1.5 1.14 1.14 2.3",
        "SPLIT_V": "1.13.1 2.3",
        "SQRT": "1.10 2.21",
        "SQUARE": "1.12",
        "SQUARED_DIFFERENCE": "1.13.1 2.5",
        "SQUEEZE": "1.6 2.5",
        "STRIDED_SLICE": "1.6 1.14 2.1 2.2 2.5 2.6 2.14 2.14",
        "SUB": "1.6 1.14 2.3 2.4 2.4",
        "SUM": "1.10 1.15",
        "TANH": "1.14 1.14 2.3",
        "TILE": "1.10.1 2.2 2.8",
        "TOPK_V2": "1.7 1.14 2.13",
        "TRANSPOSE": "1.6 1.14 1.15 2.3 2.4 2.12 2.14.4 2.22",
        "TRANSPOSE_CONV": "1.9 2.2 2.3 2.13 2.15",
        "UNPACK": "1.11 1.14 2.2 2.3 2.22",
        "VAR_HANDLE": "2.6",
        "WHERE": "1.14 2.8",
    }.items()
}
# Tensor types to the first release that knows them, of those that came after the ops above: an op
# whose version says nothing about its weights' type is as new as the type.
TYPES = {"int4": "2.12", "int2": "2.21"}
# (op, activations, weights) whose kernels came later than the ops' versions, as was measured with
# tflite-runtime 2.7 to 2.14, TensorFlow 2.16 to 2.21 and LiteRT 1.0 to 2.3.
MEASURED = {
    # Up to 2.12 refused; 2.13 gives NaN or crashes; 2.14 and 2.16 are 1% off, a third in binary
    # networks; LiteRT 1.0 gives numbers of 1e5 for some files.
    ("FULLY_CONNECTED", "float32", "int4"): "2.18",
    # Refused up to 2.18.
    ("FULLY_CONNECTED", "int8", "int4"): "2.19",
}
# A dense layer of integers with a scale a filter: older ones take the first scale for all, and
# the outputs are wrong without a word.
_DENSE_SCALES = "2.10"
# The first LiteRT that has what a release of TensorFlow has, as was measured.
_LITERT = (("2.17", "1.0"), ("2.19", "1.1"), ("2.21", "2.1.2"))

# First version of an op whose first input has this type, where it isn't the ops' first.
_EIGHT_BITS = """ADD ARG_MAX ARG_MIN AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND CONCATENATION
    DEPTH_TO_SPACE EQUAL GATHER GREATER GREATER_EQUAL LESS LESS_EQUAL LOGISTIC LOG_SOFTMAX MAXIMUM
    MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NOT_EQUAL PACK PAD PADV2 REDUCE_MAX REDUCE_MIN RELU
    RELU6 RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR RSQRT SELECT SLICE SOFTMAX SPACE_TO_BATCH_ND
    SPACE_TO_DEPTH SPLIT_V SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TRANSPOSE UNPACK"""
_SIXTEEN_BITS = """ADD AVERAGE_POOL_2D BATCH_MATMUL CONCATENATION LOGISTIC MAX_POOL_2D MEAN PACK PAD
    PADV2 REDUCE_MAX REDUCE_MIN RELU RELU6 SOFTMAX TANH"""
_BY_TYPE = {
    "int8": {**dict.fromkeys(_EIGHT_BITS.split(), 2), "REVERSE_V2": 3, "TILE": 3},
    "int16": {
        **dict.fromkeys(_SIXTEEN_BITS.split(), 3),
        **dict.fromkeys(("GATHER", "MAXIMUM", "MINIMUM", "MUL", "SLICE", "SPACE_TO_BATCH_ND"), 4),
        **dict.fromkeys(("SUB", "TRANSPOSE"), 5),
        "LEAKY_RELU": 2,
    },
    "int4": {"CONCATENATION": 5, "GATHER": 7, "SLICE": 7, "TRANSPOSE": 7},
    "int64": {"ADD": 4, "MUL": 5, "SUB": 4},
    "bool": {"GATHER": 3, "PAD": 5, "PADV2": 5, "STRIDED_SLICE": 3, "TRANSPOSE": 3},
}
# (activations, weights) to the first version: with one scale a tensor, with one scale a filter.
_PRODUCTS = {
    "CONV_2D": {
        ("int8", "int8"): (3, 3),
        ("int8", "int4"): (7, 7),
        ("float32", "int4"): (7, 7),
        ("float32", "int8"): (2, 5),
    },
    "DEPTHWISE_CONV_2D": {
        ("int8", "int8"): (3, 3),
        ("int8", "int4"): (7, 7),
        ("float32", "int4"): (7, 7),
        ("float32", "int8"): (4, 6),
    },
    "FULLY_CONNECTED": {
        ("int8", "int8"): (4, 4),
        ("int8", "int4"): (10, 10),
        ("float32", "int8"): (3, 12),
        ("float32", "int2"): (14, 14),
        ("int8", "int2"): (14, 14),
    },
}
_DEQUANTIZE = {"int8": 2, "int16": 3, "float16": 3, "int4": 6, "int2": 7}


@dataclasses.dataclass(frozen=True)
class Oldest:
    """The oldest runtime that can run a file.

    Attributes:
        release: of TensorFlow Lite, such as `2.11.0`; what the known ops need at least.
        because: the op that asks for it, with its version, or the tensor type.
        unknown: ops, with their versions, that aren't in the table: the file may need more.
    """

    release: str
    because: str
    unknown: tuple[str, ...] = ()

    @property
    def litert(self) -> str | None:
        """The first release of LiteRT that has the same, or None if it isn't known."""
        for release, name in _LITERT:
            if _parts(self.release) <= _parts(release):
                return name
        return None

    def __str__(self) -> str:
        least = "at least " if self.unknown else ""
        own = f", LiteRT {self.litert}" if self.litert else ""
        return f"{least}TensorFlow Lite {self.release}{own}"


def oldest(content: FileContent) -> Oldest:
    """Returns the oldest runtime that loads the file and computes every op as it is meant.

    Args:
        content: of the file.

    Returns:
        The release, and the op or type that asks for it.
    """
    newest, because, unknown = "1.5", "any op", []
    asked = [(TYPES.get(dtype), f"{dtype} tensors") for dtype in content.dtypes()]
    for op in content.ops:
        version = max(op.version, needed_version(op))
        release = release_of(op.name, version)
        if release is None:
            unknown.append(f"{op.name} {version}")
        asked += [(release, f"{op.name} {version}"), _measured(op)]
    for release, reason in asked:
        if release is not None and _parts(release) > _parts(newest):
            newest, because = release, reason
    return Oldest(".".join(map(str, _parts(newest))), because, tuple(dict.fromkeys(unknown)))


def _measured(op: Op) -> tuple[str | None, str]:
    """Returns the first release whose kernel was seen to do what the op asks for, and why."""
    first, weights = (*op.inputs, None, None)[:2]
    if first is None or weights is None:
        return None, ""
    kinds = (op.name, first.dtype, weights.dtype)
    if kinds == ("FULLY_CONNECTED", "int8", "int8") and weights.scales > 1:
        return _DENSE_SCALES, "FULLY_CONNECTED of integers with a scale a filter"
    return MEASURED.get(kinds), f"{op.name} of {first.dtype} and {weights.dtype}"


def release_of(name: str, version: int) -> str | None:
    """Returns the first release that has a version of an op; None if the table doesn't know it.

    >>> release_of("FULLY_CONNECTED", 12), release_of("CUSTOM:Mine", 1)
    ('2.17', None)
    """
    releases = RELEASES.get(name, ())
    if not 1 <= version <= len(releases) or releases[version - 1] == "-":
        return None
    return releases[version - 1]


def needed_version(op: Op) -> int:
    """Returns the first version of an op that has the types which this one uses."""
    weights = op.inputs[1] if len(op.inputs) > 1 else None
    dtypes = [tensor.dtype if tensor else "" for tensor in op.inputs]
    return first_version(op.name, dtypes, weights.scales if weights else 0)


def first_version(name: str, dtypes: Sequence[str], scales: int = 0) -> int:
    """Returns the first version of an op that has these types; 1 where no rule is known.

    Args:
        name: of the op.
        dtypes: its inputs' types; empty for one that is left out.
        scales: how many scales its second input has.

    >>> first_version("CONV_2D", ["int8", "int4", "int32"], scales=64)
    7
    """
    first = dtypes[0] if dtypes else ""
    if name in _PRODUCTS and len(dtypes) > 1:
        one, many = _PRODUCTS[name].get((first, dtypes[1]), (1, 1))
        return many if scales > 1 else one
    if name == "DEQUANTIZE":
        return _DEQUANTIZE.get(first, 1)
    if name == "SPLIT" and len(dtypes) > 1:  # The axis comes first.
        return {"int8": 2, "int32": 3, "int16": 4}.get(dtypes[1], 1)
    if name == "GATHER" and "int16" in dtypes[1:2]:  # The indices.
        return 6
    return _BY_TYPE.get(first, {}).get(name, 1)


def _parts(release: str) -> tuple[int, ...]:
    """Returns a release's three numbers, which compare as they should where texts don't."""
    return (*map(int, release.split(".")), 0, 0)[:3]
