"""Convolutions as slices and products, beside the CONV_2D that they came from."""

import dataclasses

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tests.export.handmade import Conv, Dense, Depthwise, Reshape, normal, save
from tfcompress.export import im2col
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor, edit


def rewritten(path, *, without_bias=False):
    """Every product of a file with weights that aren't asked for as one constant."""

    def change(editor):
        for op in editor.ops():
            if editor.name(op) == "RESHAPE":
                continue
            assert im2col.why_not(editor, op) is None
            kernel = editor.values(op.inputs[1])
            rows = [kernel] if kernel.ndim == 2 else list(kernel.transpose(1, 0, 2, 3))
            if without_bias:
                op.inputs = op.inputs[:2]
            im2col.with_weights(
                editor,
                op,
                lambda row, rows=rows: editor.constant(rows[row].reshape(len(rows[row]), -1)),
            )

    edit(path, change)
    return path


def check(folder, shape, *layers, seed=0, without_bias=False):
    """Compares on inputs with outputs beyond 6; returns the op counts."""
    x = 3 * normal((2 * shape[0], *shape[1:]), seed)
    path = save(folder / "m.tflite", shape, *layers)
    right = LiteModel(path).predict(x)
    got = LiteModel(rewritten(path, without_bias=without_bias)).predict(x)
    assert got.shape == right.shape
    assert np.abs(got - right).max() <= 1e-5 * max(1, np.abs(right).max())
    return read(path).op_counts()


@strategies.composite
def convolutions(draw):
    kernel = draw(strategies.tuples(*[strategies.integers(1, 5)] * 2))
    dilations = draw(strategies.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2)]))
    padding = draw(strategies.sampled_from(["same", "valid"]))
    least = [1, 1]
    if padding == "valid":
        least = [(taps - 1) * apart + 1 for taps, apart in zip(kernel, dilations, strict=True)]
    size = [draw(strategies.integers(side, side + 6)) for side in least]
    channels, filters = draw(strategies.integers(1, 4)), draw(strategies.integers(1, 4))
    seed = draw(strategies.integers(0, 99))
    bias = normal(filters, seed + 1) if draw(strategies.booleans()) else None
    conv = Conv(
        normal((filters, *kernel, channels), seed),
        bias,
        draw(strategies.tuples(*[strategies.integers(1, 3)] * 2)),
        dilations,
        padding,
        draw(strategies.sampled_from(["", "relu", "relu6"])),
    )
    return (draw(strategies.sampled_from([1, 1, 3])), *size, channels), conv


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("im2col")


# Several images at a step of 1, of which no cut is one run of memory; a row of the filters alone;
# steps and distances that differ, where TensorFlow's SAME has more behind than before.
BIG = Conv(normal((4, 3, 2, 3), 1), normal(4, 2), activation="relu")


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.example(((3, 5, 6, 3), BIG))
@hypothesis.example(((3, 5, 6, 3), dataclasses.replace(BIG, padding="valid", strides=(1, 2))))
@hypothesis.example(((3, 7, 6, 3), dataclasses.replace(BIG, strides=(2, 3))))
@hypothesis.example(((2, 7, 6, 3), Conv(normal((4, 1, 4, 3)), strides=(3, 2))))
@hypothesis.example(((1, 9, 8, 3), dataclasses.replace(BIG, dilations=(2, 3), strides=(2, 1))))
@hypothesis.given(convolutions())
def test_computes_what_the_convolution_does(folder, case):
    shape, conv = case
    counts = check(folder, shape, conv)
    assert counts["BATCH_MATMUL"] == conv.kernel.shape[1]
    assert "CONV_2D" not in counts


@pytest.mark.parametrize("taps", [(3, 2), (1, 1)])
def test_without_a_bias(tmp_path, taps):
    conv = Conv(normal((4, *taps, 3)), activation="relu6")
    counts = check(tmp_path, (1, 6, 5, 3), conv, without_bias=True)
    assert counts.get("ADD", 0) == taps[0] - 1 + (taps[0] == 1)  # The last one has the activation.


def test_several_in_a_row(tmp_path):
    layers = (
        Conv(normal((4, 3, 3, 3), 1), normal(4, 2), (2, 2), activation="relu"),
        Conv(normal((5, 1, 1, 4), 3), normal(5, 4), padding="valid"),
        Reshape((1, 4 * 3 * 5)),
        Dense(normal((3, 4 * 3 * 5), 5), normal(3, 6), "relu"),
    )
    counts = check(tmp_path, (1, 7, 6, 3), *layers)
    assert (counts["BATCH_MATMUL"], counts["FULLY_CONNECTED"]) == (4, 1)


@pytest.mark.parametrize("activation", ["", "relu", "relu6"])
@pytest.mark.parametrize("bias", [None, normal(4, 3)])
@pytest.mark.parametrize("shape", [(1, 5, 6), (3, 6), (2, 5, 6), (1, 6)])
def test_dense_ops(tmp_path, shape, bias, activation):
    counts = check(tmp_path, shape, Dense(normal((4, 6)), bias, activation))
    several = np.prod(shape[:-1]) > 1
    assert ("FULLY_CONNECTED" in counts, "BATCH_MATMUL" in counts) == (not several, several)


def test_weights_are_asked_for_row_by_row(tmp_path):
    """Of one row of the filters at a time, in their order: buckets are expanded so."""
    asked = []
    conv = Conv(normal((2, 4, 3, 2)))
    path = save(tmp_path / "m.tflite", (1, 6, 6, 2), conv)

    def weights(editor, row):
        asked.append(row)
        return editor.constant(conv.kernel[:, row].reshape(2, -1))

    edit(path, lambda editor: im2col.with_weights(
        editor, editor.ops()[0], lambda row: weights(editor, row)
    ))  # fmt: skip
    assert asked == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("layer", "why"),
    [
        (Conv(normal((6, 3, 3, 2))), "its 3 groups would be as many products"),
        (Depthwise(normal((1, 3, 3, 6))), "a depthwise convolution isn't a product of matrices"),
        (Conv(normal((6, 3, 3, 6))), None),
    ],
)
def test_what_is_no_product_of_matrices(tmp_path, layer, why):
    editor = Editor(save(tmp_path / "m.tflite", (1, 5, 5, 6), layer))
    assert im2col.why_not(editor, editor.ops()[0]) == why
