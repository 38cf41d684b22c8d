"""What runtimes get wrong or refuse in a file, as was measured or as their sources say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from tfcompress.tflite import bit_ops as kernels
from tfcompress.tflite.content import FileContent, Op, Tensor
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.versions import needed_version

# Of larq-compute-engine 0.16.
LCE_OPS = tuple(f"CUSTOM:Lce{name}" for name in ("Bconv2d", "BMaxPool2d", "Dequantize", "Quantize"))
# Of tfcompress's own kernels.
XNOR_OPS = tuple(f"CUSTOM:{name}" for name in kernels.NAMES)
_RUNTIMES = {
    **dict.fromkeys(LCE_OPS, ": it needs larq-compute-engine's runtime"),
    **dict.fromkeys(XNOR_OPS, ": it needs tfcompress's kernels"),
}
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV")
# What the GPU delegate takes, by TFLite's gpu_compatibility.cc (LiteRT 2.2).
_GPU_OPS = """
    ABS ADD ADD_N ATAN2 AVERAGE_POOL_2D BATCH_MATMUL BITCAST CAST CEIL CONCATENATION CONV_2D COS
    CUMSUM DENSIFY DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE DIV DYNAMIC_UPDATE_SLICE ELU
    EMBEDDING_LOOKUP EQUAL EXP FLOOR FLOOR_DIV FLOOR_MOD FULLY_CONNECTED GATHER GELU GREATER
    GREATER_EQUAL HARD_SWISH LEAKY_RELU LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR
    LOGISTIC LSTM MAXIMUM MAX_POOL_2D MEAN MINIMUM MIRROR_PAD MUL NEG NOT_EQUAL ONE_HOT PACK PAD
    PADV2 POW PRELU QUANTIZE REDUCE_ALL REDUCE_ANY REDUCE_MAX REDUCE_MIN REDUCE_PROD RELU RELU6
    RELU_N1_TO_1 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 RIGHT_SHIFT ROUND RSQRT
    SELECT SELECT_V2 SIGN SIN SLICE SOFTMAX SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE
    SQUARED_DIFFERENCE STRIDED_SLICE SUB SUM TANH TILE TOPK_V2 TRANSPOSE TRANSPOSE_CONV"""


@dataclasses.dataclass(frozen=True)
class CompatibilityIssue:
    """Something that a runtime may stumble over.

    Attributes:
        who: `all`, `old runtimes`, `GPU` for GPU delegates, or `MediaPipe`.
        text: what is wrong.
        tensor: the output of the first op that it concerns; empty if it is the file's.
        count: how many ops it concerns.
    """

    who: str
    text: str
    tensor: str = ""
    count: int = 1

    def __str__(self) -> str:
        more = f" and {self.count - 1} more" if self.count > 1 else ""
        return f"{self.text} (at '{self.tensor}'{more})" if self.tensor else self.text


def never(content: FileContent) -> list[CompatibilityIssue]:
    """Lists what no file should hold: not every runtime that loads it gets it right."""
    return _found(content, "all", _wrong)


def gpu(content: FileContent) -> list[CompatibilityIssue]:
    """Lists ops and weights that TFLite's GPU delegate leaves to the CPU, by its source.

    `benchmark.lint` knows what LiteRT's WebGPU accelerator was seen to get wrong.
    """
    return _found(content, "GPU", _not_on_a_gpu)


def old(content: FileContent) -> list[CompatibilityIssue]:
    """Lists ops whose version promises that an older runtime will do."""
    return _found(content, "old runtimes", _too_low)


def mediapipe(content: FileContent, said: Metadata | None) -> list[CompatibilityIssue]:
    """Lists what keeps MediaPipe's ImageClassifier (1.2.2) from taking the file."""
    reasons = []
    if any(op.subgraph for op in content.ops):
        reasons.append("it has several graphs, and MediaPipe takes files of one")
    for tensor in content.inputs[:1]:
        if tensor.dtype not in ("float32", "uint8"):
            reasons.append(f"its input is {tensor.dtype}, not float32 or uint8")
        if tensor.dtype == "float32" and not (said and said.mean):
            reasons.append("its input is float32, and no metadata say how pixels are normalised")
    if not (said and said.labels):
        reasons.append("no metadata name the classes: it would give numbers")
    return [CompatibilityIssue("MediaPipe", text) for text in reasons]


def _wrong(op: Op) -> Iterator[str]:
    weights = _second(op)
    dtype = weights.dtype if weights else ""
    if op.name.startswith("CUSTOM:"):
        yield f"{op.name} isn't a built-in op{_RUNTIMES.get(op.name, '')}"
    if op.name in CONVOLUTIONS and dtype == "int2":
        # NaN or a segmentation fault in LiteRT 2.3.
        yield f"{op.name} with 2-bit weights crashes the interpreter"
    if op.name == "BATCH_MATMUL" and dtype == "int8" and weights and not weights.constant:
        # Silently wrong under XNNPACK.
        yield "BATCH_MATMUL with an int8 right side that isn't constant is wrong"
    if dtype == "int4" and op.version < needed_version(op):
        yield (
            f"{op.name} of version {op.version} with 4-bit weights, which version "
            f"{needed_version(op)} is the first to have, so that older runtimes refuse the file"
        )


def _too_low(op: Op) -> Iterator[str]:
    needed = needed_version(op)
    if op.version < needed:
        yield (
            f"{op.name} says version {op.version} and has types of version {needed}: older "
            "runtimes load the file and fail, or compute something else"
        )


def _not_on_a_gpu(op: Op) -> Iterator[str]:
    weights = _second(op)
    if op.folded or op.subgraph:
        return
    if op.name not in _GPU_OPS.split():
        yield f"{op.name} isn't among a GPU's ops"
        return
    if weights is None or op.name not in (*CONVOLUTIONS, "FULLY_CONNECTED"):
        return
    if weights.dtype in ("int4", "int2"):
        yield f"{op.name} with {weights.dtype} weights isn't for every GPU"
    if op.name in CONVOLUTIONS and not weights.constant:
        yield f"{op.name} with computed weights isn't for every GPU"


def _found(
    content: FileContent, who: str, rule: Callable[[Op], Iterator[str]]
) -> list[CompatibilityIssue]:
    """Returns a rule's texts, each once, with the first op's output and the number of ops."""
    issues: dict[str, CompatibilityIssue] = {}
    for op in content.ops:
        for text in rule(op):
            tensor = op.outputs[0].name if op.outputs else ""
            known = issues.get(text, CompatibilityIssue(who, text, tensor, 0))
            issues[text] = dataclasses.replace(known, count=known.count + 1)
    return list(issues.values())


def _second(op: Op) -> Tensor | None:
    """Returns the second input, which holds an op's weights."""
    return op.inputs[1] if len(op.inputs) > 1 else None
