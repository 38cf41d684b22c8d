"""Converts Keras models to float `.tflite` files, and gives their ops integer weights."""

from __future__ import annotations

import contextlib
import gc
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import ExportError, InputError
from tfcompress.export.channels_last import channels_last
from tfcompress.export.finish import finish
from tfcompress.export.zeros import one_zero
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional
from tfcompress.tflite import header, parser
from tfcompress.tflite.content import FileContent, Op, Tensor
from tfcompress.tflite.io_order import keep_order
from tfcompress.tflite.weighted_ops import FAST_WITH_FLOATS, WEIGHTED, one_magnitude, weights_type

# What the values 0 and 1 pass through on their way to a convolution and stay 0 and 1.
_KEEPS_BITS = {"PAD", "PADV2", "MAX_POOL_2D", "RESHAPE", "TRANSPOSE", "CONCATENATION", "SLICE"}
# How errors name ops that the converter can't write, and Keras's errors their colours.
_UNKNOWN_OPS = re.compile(r"error: '(tf\.\w+)' op is neither a custom op nor a flex op")
_WRONG_OP = re.compile(r"error: ('tf\w*\.\w+' op .*)")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def float_file(model: keras.Model, path: Path, **converter: Any) -> None:
    """Writes a model of built-in layers with a static batch of 1, in float32.

    A dynamic batch would add shape arithmetic to the file and keep GPUs from running it.

    Args:
        model: functional or Sequential.
        path: of the `.tflite`.
        converter: attributes of TensorFlow's `TFLiteConverter`.

    Sizes that the model leaves open, but for the batch, are open in the file.

    Raises:
        InputError: the backend can't export.
        ExportError: TensorFlow's converter can't write the model.
    """
    export_saved(model, str(path), "litert", **converter)
    model = functional(model)
    if max(len(model.inputs), len(model.outputs)) > 1:
        keep_order(path)
    one_zero(path)


def export_saved(model: keras.Model, path: str, format: str, **options: Any) -> None:
    """Exports the model with a static batch of 1.

    Args:
        model: functional or Sequential.
        path: of the file or folder.
        format: one of Keras's formats, such as `tf_saved_model`.
        options: of that format.

    Raises:
        InputError: the backend can't export.
        ExportError: TensorFlow can't trace or convert the model.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "export needs the TensorFlow backend: save the model, set KERAS_BACKEND=tensorflow "
            f"and load it there; the backend here is {keras.backend.backend()}"
        )
    model = functional(channels_last(model))
    signature = []
    for tensor in model.inputs:
        shape = tuple(tensor.shape)
        signature.append(keras.InputSpec(shape=(1, *shape[1:]), dtype=tensor.dtype))
    with quiet(), _older_objects_aside():
        # Same layers, new model: exporting tracks resources on the object it is given.
        fresh = keras.Model(model.inputs, model.outputs, name=model.name)
        # The model's one argument: of several inputs it is their list.
        arguments = signature if len(signature) == 1 else [signature]
        try:
            fresh.export(path, format=format, input_signature=arguments, verbose=False, **options)
        except Exception as error:  # Whatever its layers and TensorFlow's converter run into.
            raise ExportError(
                f"TensorFlow can't convert model '{model.name}': {_reason(error)}"
            ) from error


def _reason(error: Exception) -> str:
    """Returns what TensorFlow or Keras complains about, on one line."""
    text = _COLOURS.sub("", str(error)).partition("\n\nArguments received by")[0]
    unknown = _UNKNOWN_OPS.findall(text)
    if unknown:
        return f"TFLite has no op for {', '.join(dict.fromkeys(unknown))}"
    wrong = _WRONG_OP.search(text)
    if wrong:
        return header.one_line(wrong[1])
    return header.one_line(text or type(error).__name__)


@contextlib.contextmanager
def _older_objects_aside() -> Iterator[None]:
    """Leaves the objects that are there out of the search for garbage.

    TensorFlow's converter ends in one, which went through all that Keras and TensorFlow have
    loaded: a third of a small export's time.
    """
    if gc.get_freeze_count():  # The program has set its objects aside, and keeps them there.
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def quantized_file(float_path: Path, path: Path, bits: Mapping[str, int]) -> None:
    """Gives the ops with these output tensors weights of 8, 4 or 2 bits, one scale a filter.

    Their float activations are quantised by the runtime, with a scale for each image. Values of
    exactly 0 and 1 are held without error by that.

    Args:
        float_path: of the float file.
        path: of the new file.
        bits: by output name; fewer than 8 for FULLY_CONNECTED alone.

    Raises:
        InputError: no op is named.
    """
    from ai_edge_quantizer import quantizer, recipe

    if not bits:
        raise InputError("no layer to quantise")
    recipes = {
        8: recipe.dynamic_wi8_afp32(),
        4: recipe.dynamic_wi4_afp32(),
        2: recipe.dynamic_wi2c_afp32(),
    }
    rules = [
        {**rule, "regex": f"^{re.escape(name)};?$"}
        for name, count in sorted(bits.items())
        for rule in recipes[count]
    ]
    with quiet(), warnings.catch_warnings():
        # Buckets of hashed weights are integers already and stay as they are.
        warnings.filterwarnings("ignore", message="Input model is already partially quantized")
        result = quantizer.Quantizer(str(float_path), rules).quantize()
    path.write_bytes(result.quantized_model)
    finish(path)


def ops_fast_with_floats(content: FileContent) -> list[str]:
    """Returns the output names of the ops that get integer weights beside float activations.

    Those are all weighted ops; depthwise convolutions only where there is nothing else, for the
    runtime has no fast kernel for them.
    """
    ops = _with_constants(content)
    fast = [op for op in ops if op.name in FAST_WITH_FLOATS]
    return [op.outputs[0].name for op in fast or ops]


def ops_with_bits(content: FileContent, weights: dict[str, np.ndarray]) -> list[str]:
    """Returns the output names of the ops whose inputs are levels and whose weights are binary.

    Levels are 0 and 1, or 0 to 3: sums of three such.

    Args:
        content: of the float file.
        weights: constant name to its values: weights are binary if each filter has one magnitude.
    """
    makers = content.producers()

    def top_level(tensor: Tensor | None) -> int:
        """Returns the highest level that a tensor may have, 0 if it holds something else."""
        op = makers.get(tensor) if tensor else None
        sources = [t for t in op.inputs if t and not t.constant] if op else []
        if op is None or not sources:
            return 0
        if op.name == "CAST":
            return int(sources[0].dtype == "bool")
        tops = [top_level(source) for source in sources]
        if op.name == "ADD" and len(tops) == 2 and all(tops):
            return sum(tops)
        return max(tops) if op.name in _KEEPS_BITS and all(tops) else 0

    return [
        op.outputs[0].name
        for op in _with_constants(content)
        if top_level(op.inputs[0]) in (1, 3)
        and op.inputs[1] is not None
        and one_magnitude(weights[op.inputs[1].name])
    ]


def _with_constants(content: FileContent) -> list[Op]:
    """Returns the weighted ops whose weights stand in the file."""
    return [op for op in content.ops if op.name in WEIGHTED and weights_type(op) is not None]


def float_constants(path: Path) -> dict[str, np.ndarray]:
    """Returns the float constants of a file's main graph, by tensor name."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = parser.unpack(path.read_bytes(), path)
    values = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data) and tensor.type == schema.TensorType.FLOAT32:
            array = np.asarray(data, np.uint8).view(np.float32)
            values[tensor.name.decode()] = array.reshape(tensor.shape)
    return values


def int8_constants(path: Path) -> list[np.ndarray]:
    """Returns a file's 8-bit constants as the real numbers that they stand for."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = parser.unpack(path.read_bytes(), path)
    constants = []
    for tensor in model.subgraphs[0].tensors:
        data, grid = model.buffers[tensor.buffer].data, tensor.quantization
        if data is None or not len(data) or tensor.type != schema.TensorType.INT8:
            continue
        if grid is None or grid.scale is None:
            continue
        values = np.asarray(data, np.uint8).view(np.int8).reshape(tensor.shape).astype("float64")
        shape = [1] * values.ndim
        if len(grid.scale) > 1:
            shape[grid.quantizedDimension] = len(grid.scale)
        offset = np.asarray(grid.zeroPoint, "float64").reshape(shape)
        constants.append((values - offset) * np.asarray(grid.scale, "float64").reshape(shape))
    return constants
