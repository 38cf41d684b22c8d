"""Keras to a float `.tflite`, and 8-bit weights in it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress.errors import InputError
from tfcompress.export.bits import one_magnitude
from tfcompress.export.finish import finish
from tfcompress.export.zeros import one_zero
from tfcompress.files import quiet
from tfcompress.graph.rewrite import functional
from tfcompress.tflite.content import FileContent, Op, Tensor

# What the values 0 and 1 pass through on their way to a convolution and stay 0 and 1.
_KEEPS_BITS = {"PAD", "PADV2", "MAX_POOL_2D", "RESHAPE", "TRANSPOSE", "CONCATENATION", "SLICE"}
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
# With float activations, XNNPACK takes no 8-bit weights of theirs.
SLOW = ("DEPTHWISE_CONV_2D",)


def float_file(model: keras.Model, path: Path, **converter: Any) -> None:
    """Writes the model, in stock layers, with a static batch of 1; as float32 by itself.

    A dynamic batch would add shape arithmetic to the file and keep GPUs from running it.

    Args:
        model: functional or Sequential.
        path: of the `.tflite`.
        converter: attributes of TensorFlow's `TFLiteConverter`.

    Raises:
        InputError: an input has no static size, or the backend can't export.
    """
    saved(model, str(path), "litert", **converter)
    one_zero(path)


def saved(model: keras.Model, path: str, form: str, **options: Any) -> None:
    """Exports the model with a static batch of 1.

    Args:
        model: functional or Sequential.
        path: of the file or folder.
        form: one of Keras's formats, such as `tf_saved_model`.
        options: of that format.

    Raises:
        InputError: an input has no static size, or the backend can't export.
    """
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            "export needs the TensorFlow backend: save the model, set KERAS_BACKEND=tensorflow "
            f"and load it there; the backend here is {keras.backend.backend()}"
        )
    model = functional(model)
    signature = []
    for tensor in model.inputs:
        shape = tuple(tensor.shape)
        if None in shape[1:]:
            raise InputError(
                f"the input '{tensor.name}' has the shape {shape}: a .tflite needs static sizes; "
                "build the model with an input_shape"
            )
        signature.append(keras.InputSpec(shape=(1, *shape[1:]), dtype=tensor.dtype))
    with quiet():
        # Same layers, new model: exporting tracks resources on the object it is given.
        fresh = keras.Model(model.inputs, model.outputs, name=model.name)
        fresh.export(path, format=form, input_signature=signature, verbose=False, **options)


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


def ops_to_quantize(content: FileContent, weights: dict[str, np.ndarray], which: str) -> list[str]:
    """Output names of the products that a storage quantises.

    Args:
        content: of the float file.
        weights: constant name to its values, for the constants of products.
        which: `binary` for ops whose inputs are bits and whose weights have one magnitude a
            filter, `all` for every product with constant weights; of these, depthwise convolutions
            only where there is nothing else, for the runtime has no fast kernel for them.
    """
    maker: dict[Tensor, Op] = {out: op for op in content.ops for out in op.outputs}

    def bits(tensor: Tensor | None) -> bool:
        op = maker.get(tensor) if tensor else None
        if op is None:
            return False
        source = [t for t in op.inputs if t and not t.constant]
        if op.name == "CAST":
            return bool(source) and source[0].dtype == "bool"
        return op.name in _KEEPS_BITS and bool(source) and all(map(bits, source))

    chosen = []
    for op in content.ops:
        if op.name not in PRODUCTS or op.inputs[1] is None or not op.inputs[1].constant:
            continue
        if which == "all" or (bits(op.inputs[0]) and one_magnitude(weights[op.inputs[1].name])):
            chosen.append(op)
    if which == "all" and any(op.name not in SLOW for op in chosen):
        chosen = [op for op in chosen if op.name not in SLOW]
    return [op.outputs[0].name for op in chosen]


def weights_type(op: Op) -> str | None:
    """The type of a product's weights; None if they aren't constants of the file."""
    weights = op.inputs[1]
    return weights.dtype if weights is not None and weights.constant else None


def product_weights(path: Path) -> dict[str, np.ndarray]:
    """The float constants of a file's products, by tensor name."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    values = {}
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if data is not None and len(data) and tensor.type == schema.TensorType.FLOAT32:
            array = np.asarray(data, np.uint8).view(np.float32)
            values[tensor.name.decode()] = array.reshape(tensor.shape)
    return values


def int8_constants(path: Path) -> list[np.ndarray]:
    """A file's 8-bit constants as the real numbers that they stand for."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    found = []
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
        found.append((values - offset) * np.asarray(grid.scale, "float64").reshape(shape))
    return found
