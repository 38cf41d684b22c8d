import sys
from contextlib import nullcontext

import keras
import numpy as np
import pytest
from keras import layers

from tests.export.conftest import binary_net
from tfcompress import graph
from tfcompress.errors import InputError
from tfcompress.export import ExportError, convert, parity, storages, verify
from tfcompress.export.audit import audit
from tfcompress.export.smoke_run import smoke_run
from tfcompress.export.storage import ModelTraits
from tfcompress.layers import BinaryDense
from tfcompress.runtime import process
from tfcompress.tflite.content import FileContent, Op, Tensor

FLOAT, DYNAMIC, STATIC = (storages.get(name).usual for name in ("float32", "dynamic", "int8"))
INT8 = storages.get("int8").method_for(ModelTraits(binary_inputs="binary"))


class TestAudit:
    def tensor(self, dtype="float32", constant=False, shape=(1, 4), name="t"):
        return Tensor(name, dtype, shape, constant, 16 if constant else 0, dtype != "float32")

    def content(self, *ops, shape=(1, 4)):
        weights = [t for op in ops for t in op.inputs[1:2] if t.constant]
        return FileContent(
            path="m.tflite",
            ops=ops,
            inputs=(self.tensor(shape=shape, name="image"),),
            outputs=(),
            macs=0,
            uncounted=(),
            weight_bytes={tensor.dtype: tensor.size_bytes for tensor in weights},
            buffer_bytes=0,
        )

    def op(self, name="CONV_2D", weights="float32", constant=True, macs=8):
        inputs = (self.tensor(), self.tensor(weights, constant))
        return Op(name, 1, inputs, (self.tensor(),), 0, False, macs)

    @pytest.mark.parametrize(
        ("storage", "weights"),
        [(FLOAT, ["float32"]), (INT8, ["float32", "int8"]), (DYNAMIC, ["int8"])],
    )
    def test_right_files(self, storage, weights):
        audit(self.content(*(self.op(weights=dtype) for dtype in weights)), storage)

    @pytest.mark.parametrize("name", ["CUSTOM:FlexErf", "CUSTOM:LceBconv2d"])
    def test_custom_ops(self, name):
        with pytest.raises(ExportError, match=f"{name} isn't a built-in op"):
            audit(self.content(self.op(), self.op(name, macs=None)), FLOAT)

    def test_floats_at_the_ends_of_an_integer_file(self):
        with pytest.raises(ExportError, match="'image' goes in or out as float32, not int8"):
            audit(self.content(self.op(weights="int8")), STATIC)

    @pytest.mark.parametrize("dtype", ["int8", "int4", "float16"])
    def test_other_weights_in_a_float_file(self, dtype):
        with pytest.raises(
            ExportError, match=rf"weights of types \[.*'{dtype}'.*\] in a file of float"
        ):
            audit(self.content(self.op(), self.op(weights=dtype)), FLOAT)

    @pytest.mark.parametrize("storage", [INT8, DYNAMIC])
    def test_float_weights_alone_in_a_quantised_file(self, storage):
        with pytest.raises(ExportError, match="no integer weights in the file"):
            audit(self.content(self.op()), storage)

    def test_a_float_product_in_a_file_whose_every_product_is_quantised(self):
        with pytest.raises(ExportError, match="CONV_2D 't' kept float32 weights"):
            audit(self.content(self.op(weights="int8"), self.op()), DYNAMIC)

    def test_int2_convolutions(self):
        with pytest.raises(ExportError, match="2-bit weights crashes the interpreter"):
            audit(self.content(self.op(weights="int2"), self.op(weights="int8")), INT8)

    def test_computed_int8_right_side(self):
        wrong = self.op("BATCH_MATMUL", weights="int8", constant=False)
        with pytest.raises(ExportError, match="BATCH_MATMUL with an int8 right side"):
            audit(self.content(self.op(weights="int8"), wrong), INT8)
        audit(self.content(self.op("BATCH_MATMUL", weights="int8")), INT8)

    @pytest.mark.parametrize("shape", [(), (2, 4), (0, 4)])
    def test_another_batch_than_one(self, shape):
        with pytest.raises(ExportError, match=r"input 'image' has the shape .*, not a batch of 1"):
            audit(self.content(self.op(), shape=shape), FLOAT)

    def test_names_every_problem(self):
        with pytest.raises(ExportError, match=r"isn't a built-in op \(at 't'\); .*; input 'image'"):
            audit(self.content(self.op("CUSTOM:x", weights="int8"), shape=(2, 4)), FLOAT)


class TestCompare:
    def test_against_numpy(self):
        rng = np.random.default_rng(0)
        expected = rng.normal(size=(30, 4))
        got = expected + rng.normal(0, 0.3, size=(30, 4))
        figures = parity.compare(expected, got, flipped=2, classes=4)
        errors = [abs(a - b) for a, b in zip(expected.ravel(), got.ravel(), strict=True)]
        assert figures.images == 32
        assert figures.sign_flips == 2
        assert figures.max_abs_diff == pytest.approx(max(errors))
        assert figures.max_abs_output == pytest.approx(max(abs(v) for v in expected.ravel()))
        rms = (sum(e * e for e in errors) / 120) ** 0.5
        scale = (sum(v * v for v in expected.ravel()) / 120) ** 0.5
        assert figures.relative_rms == pytest.approx(rms / scale)
        same = [list(a).index(max(a)) == list(b).index(max(b)) for a, b in zip(expected, got)]  # noqa: B905
        assert 0 < sum(same) < 30
        assert figures.agreement == sum(same) / 30

    def test_equal_and_zero(self):
        zeros = np.zeros((3, 2))
        figures = parity.compare(zeros, zeros, classes=2)
        assert (figures.max_abs_diff, figures.relative_rms, figures.agreement) == (0, 0, 1)
        assert figures.to_json() == {
            "images": 3,
            "max_abs_diff": 0.0,
            "max_abs_output": 0.0,
            "relative_rms": 0.0,
            "agreement": 1.0,
            "ties": 0,
        }

    def test_labels_at_several_places(self):
        expected = np.array([[[9, 1, 0], [0, 1, 9]]], float).reshape(1, 6)
        got = np.array([[[8, 1, 0], [0, 9, 1]]], float).reshape(1, 6)
        assert parity.compare(expected, got, classes=3).agreement == 0.5
        assert parity.compare(expected, got).agreement is None


def dense_net(shift=0.0, seed=0):
    """Eight numbers, shifted and binarised, to three scores: its ties are easy to make."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8,))
    x = layers.Rescaling(1.0, offset=shift)(inputs)
    x = BinaryDense(6, name="binary")(x)
    return keras.Model(inputs, layers.Dense(3, name="scores")(x))


def numbers(count=20, ties=(), at=-1e-7):
    """Numbers of 0.1 to 2 in size; in the rows of `ties` the third one is almost 0."""
    rng = np.random.default_rng(4)
    x = rng.uniform(0.1, 2, (count, 8)) * rng.choice([-1, 1], (count, 8))
    for row in ties:
        x[row, 2] = at
    return x.astype(np.float32)


def float_file(model, path):
    convert.float_file(graph.lower(model, activations="signed"), path)
    return path


def check(*args, **options):
    return verify.check_parity(*args, storage="any", **options)


class TestParity:
    @pytest.fixture(scope="class")
    def shifted(self, tmp_path_factory):
        """A file that differs from `dense_net()` only where a number lies in -1e-6..0."""
        return float_file(dense_net(1e-6), tmp_path_factory.mktemp("shifted") / "m.tflite")

    def test_equal_files_pass(self, tmp_path):
        model = dense_net()
        parity = check(model, float_file(model, tmp_path / "m.tflite"), numbers(), FLOAT)
        assert (parity.images, parity.sign_flips, parity.agreement) == (20, 0, 1.0)
        assert parity.max_abs_diff < 1e-6

    def test_ties_are_counted_and_left_out(self, shifted):
        parity = check(dense_net(), shifted, numbers(20, ties=(3, 11)), FLOAT)
        assert (parity.images, parity.sign_flips) == (20, 2)
        assert parity.max_abs_diff < 1e-5

    def test_too_many_ties_are_no_excuse(self, shifted):
        with pytest.raises(ExportError, match="the file differs from Keras"):
            check(dense_net(), shifted, numbers(20, ties=range(11)), FLOAT)

    def test_differences_elsewhere_are_no_ties(self, tmp_path):
        path = float_file(dense_net(1e-2), tmp_path / "m.tflite")
        with pytest.raises(ExportError, match="the file differs from Keras"):
            check(dense_net(), path, numbers(20, ties=(3,), at=-5e-3), FLOAT)

    @pytest.mark.parametrize("wrong", ["bias", "kernel", "sign", "bn", "padding", "slope"])
    def test_wrong_files_are_refused(self, net, images, tmp_path, wrong):
        other = graph.lower(net, activations="signed")
        other = graph.clone(other)
        if wrong == "bias":
            bias = other.get_layer("scores").bias
            bias.assign(bias.numpy() + np.float32([0, 1e-3, 0, 0, 0]))
        elif wrong == "kernel":
            kernel = other.get_layer("first").kernel
            kernel.assign(kernel.numpy() * np.float32(1.001))
        elif wrong == "sign":
            kernel = other.get_layer("valid").kernel
            values = kernel.numpy()
            values[1, 1, 5, 3] *= -1
            kernel.assign(values)
        elif wrong == "bn":
            mean = other.get_layer("bn3").moving_mean
            mean.assign(mean.numpy() + np.float32(1e-2))
        elif wrong == "padding":
            # A padded pixel of -1 in place of +1.
            pads = [op for op in other.operations if type(op).__name__ == "Pad"]
            assert pads
            other = graph.rewrite(
                other,
                {
                    pads[0].name: lambda x, *args, **kwargs: keras.ops.pad(
                        x, [(0, 0), *pads[0].pad_width[1:3], (0, 0)], constant_values=-1.0
                    )
                },
            )
        elif wrong == "slope":
            alpha = other.get_layer("act").alpha
            alpha.assign(alpha.numpy() + np.float32(1e-2))
        convert.float_file(other, tmp_path / "m.tflite")
        first = {"bias": "scores", "slope": "act", "bn": "bn3"}.get(wrong)
        lowered = graph.lower(net, activations="signed") if first else None
        message = "the file differs from Keras"
        if first:
            message += f".*differs most, .*'{first}' is the first that differs"
        with pytest.raises(ExportError, match=message):
            check(
                net, tmp_path / "m.tflite", images, FLOAT, suspects=verify.Suspects(lowered=lowered)
            )

    def test_a_file_of_other_outputs(self, net, images, tmp_path):
        inputs = keras.Input((15, 15, 3))
        model = keras.Model(inputs, layers.Dense(4)(layers.Flatten()(inputs)))
        path = float_file(model, tmp_path / "m.tflite")
        with pytest.raises(ExportError, match=r"outputs of shape \(50, 4\), Keras \(50, 5\)"):
            check(net, path, images, FLOAT)

    @pytest.mark.parametrize("whose", ["file", "Keras model"])
    def test_outputs_that_are_no_numbers(self, tmp_path, whose):
        model, broken = dense_net(), dense_net()
        broken.get_layer("scores").bias.assign([0, np.nan, 0])
        written, asked = (broken, model) if whose == "file" else (model, broken)
        path = float_file(written, tmp_path / "m.tflite")
        with pytest.raises(ExportError, match=f"the {whose} gives outputs that aren't finite"):
            check(asked, path, numbers(), FLOAT)

    def test_labels_of_classes_that_are_equal_but_for_rounding(self, tmp_path):
        """Keras and the file may each take another of two equal classes: neither is wrong."""
        model, other = dense_net(), dense_net()
        kernel = model.get_layer("scores").kernel.numpy()
        kernel[:, 1] = kernel[:, 0]
        for of, bias in ((model, [9.0, 9.0, 0.0]), (other, [9.0, 9.00001, 0.0])):
            of.get_layer("scores").set_weights([kernel, np.float32(bias)])
        path = float_file(other, tmp_path / "m.tflite")
        parity = check(model, path, numbers(), FLOAT)
        assert parity.agreement == 0.0

    def test_inexact_storages_have_their_own_limits(self, net, images, tmp_path):
        other = graph.clone(graph.lower(net, activations="signed"))
        bias = other.get_layer("scores").bias
        largest = np.abs(net.predict(images, verbose=0)).max()
        kept = bias.numpy()
        path = tmp_path / "m.tflite"

        def off_by(share):
            bias.assign(kept + np.float32(share * largest))  # all classes: no label changes
            convert.float_file(other, path)

        off_by(0.05)
        with pytest.raises(ExportError, match=r"labels on 0\.0% of 50 images"):
            check(net, path, images, FLOAT)
        check(net, path, images, DYNAMIC)
        off_by(0.2)
        with pytest.raises(ExportError, match=r"labels on 0\.0% of 50 images"):
            check(net, path, images, DYNAMIC)

    def test_labels_count_in_inexact_storages(self, tmp_path):
        """Small differences that turn many labels."""
        model, other = dense_net(), dense_net()
        kernel = model.get_layer("scores").kernel.numpy() * 0
        model.get_layer("scores").set_weights([kernel, np.float32([9.0, 9.1, 0.0])])
        other.get_layer("scores").set_weights([kernel, np.float32([9.1, 9.0, 0.0])])
        with pytest.raises(ExportError, match=r"labels on 100\.0% of 20 images \(allowed: 5\.0%\)"):
            check(model, float_file(other, tmp_path / "m.tflite"), numbers(), DYNAMIC)


class TestTrial:
    def test_a_crash_is_met_outside(self, tmp_path, monkeypatch):
        path = float_file(dense_net(), tmp_path / "m.tflite")
        assert smoke_run(path).load_ms > 0
        code = "import os; os.abort()"
        monkeypatch.setattr(process, "command", lambda: [sys.executable, "-c", code])
        with pytest.raises(ExportError, match=r"doesn't run \(at start\): .*SIGABRT"):
            smoke_run(path)

    def test_integers_at_the_ends(self):
        make = TestAudit()
        content = make.content(make.op(weights="int8"))
        audit(content, STATIC, "float32")
        with pytest.raises(ExportError, match="'image' goes in or out as float32, not uint8"):
            audit(content, STATIC, "uint8")


class TestCheckRows:
    def test_a_dynamic_size_takes_any(self):
        inputs = keras.Input((None, None, 3))
        model = keras.Model(inputs, layers.GlobalAveragePooling2D()(inputs))
        verify.check_rows(model, np.zeros((2, 7, 9, 3)))
        with pytest.raises(InputError, match=r"must have the shape \(n, None, None, 3\)"):
            verify.check_rows(model, np.zeros((2, 7, 9, 1)))

    def test_several_inputs(self):
        inputs = [keras.Input((4,)), keras.Input((4,))]
        model = keras.Model(inputs, layers.Add()(inputs))
        with pytest.raises(InputError, match="has 2 inputs, and 1 came: give an array for each of"):
            verify.check_rows(model, np.zeros((2, 4)))


def test_a_net_larger_than_one_batch_of_keras(tmp_path):
    model = binary_net(seed=5)
    images = np.random.default_rng(0).normal(size=(130, 15, 15, 3)).astype(np.float32)
    convert.float_file(graph.lower(model, activations="signed"), tmp_path / "m.tflite")
    assert check(model, tmp_path / "m.tflite", images, FLOAT).images == 130


@pytest.mark.parametrize(
    ("scale", "off", "refused"), [(1, 3e-5, True), (300, 3e-5, False), (300, 3e-4, True)]
)
def test_rounding_of_large_scores_before_a_softmax(scale, off, refused, tmp_path):
    inputs = keras.Input((2,))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax", use_bias=False)(inputs))
    model.set_weights([scale * np.eye(2)])
    x = np.random.default_rng(0).normal(1, 0.001, (40, 2)).astype("float32")
    convert.float_file(model, tmp_path / "m.tflite")
    outputs = model.predict(x, verbose=0) + np.float32(off)
    refusal = pytest.raises(ExportError, match="differs from") if refused else nullcontext()
    with refusal:
        verify.check_parity(
            model, tmp_path / "m.tflite", x, FLOAT, storage="float32", outputs=outputs
        )
