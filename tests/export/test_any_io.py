"""Models with any number of inputs and outputs, of any rank and size: files, names, comparison."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.export.any_models import made, predicted
from tfcompress.benchmark import file_summary
from tfcompress.errors import ExportError, InputError
from tfcompress.export import convert, export, low_bits, storages, verify
from tfcompress.export.model_io import model_inputs, model_outputs
from tfcompress.ops.differences import relative_rms
from tfcompress.runtime import LiteModel
from tfcompress.tflite import metadata
from tfcompress.tflite.content import read
from tfcompress.tflite.metadata import Metadata


@pytest.fixture
def written(tmp_path):
    """Exports a model of `any_models` and loads the file."""

    def write(name, storage, **options):
        model, x = made(name)
        path = tmp_path / "m.tflite"
        exported = export(model, path, storage=storage, **{"representative": x, **options})
        return exported, tfcompress.load(path, check=False)

    return write


def rows_of(x, count=5):
    return keras.tree.map_structure(lambda array: array[:count], x)


class TestSeveralInputs:
    @pytest.mark.parametrize("storage", ["float32", "float16", "dynamic", "int8"])
    def test_an_image_and_a_table(self, written, storage):
        exported, loaded = written("image_and_table", storage)
        model, x = made("image_and_table")
        assert list(exported.inputs) == ["image", "table"]
        assert exported.inputs["table"] == "float32 (1, 5)"
        assert exported.parity.relative_rms <= {"float32": 1e-6, "float16": 1e-3}.get(storage, 0.05)
        image, table = rows_of(x)
        expected = model.predict([image, table], verbose=0)
        got = loaded({"table": table, "image": image})
        assert relative_rms(expected, got) <= {"float32": 1e-6, "float16": 1e-3}.get(storage, 0.1)
        np.testing.assert_array_equal(loaded([image, table]), got)

    def test_a_dictionary_goes_by_its_keys(self, written):
        exported, loaded = written("dict_inputs", "float32")
        model, x = made("dict_inputs")
        assert list(exported.inputs) == ["deep", "wide"]
        assert exported.outputs == {"price": "float32 (1, 1)"}
        np.testing.assert_allclose(loaded(x), model.predict(x, verbose=0), atol=1e-5)

    def test_wrong_calls_are_refused_in_a_line(self, written):
        _, loaded = written("image_and_table", "float32", representative=None)
        image, table = rows_of(made("image_and_table")[1])
        for given, message in (
            (image, r"takes 2 inputs: .*image, table.*; got one array of shape \(5, 12, 12, 3\)"),
            ({"image": image}, "takes the inputs image, table; got image"),
            ([image], "in this order; got 1"),
            ({"image": image, "table": table[:, :3]}, r"shape \(n, 5\) for 'table'; got \(5, 3\)"),
            ({"image": image, "table": table[:2]}, "must have one length"),
            ({"image": image, "table": np.full((5, 5), "x")}, "takes numbers; got an array of"),
        ):
            with pytest.raises(InputError, match=message) as error:
                loaded(given)
            assert "\n" not in str(error.value)

    def test_calibrated_by_a_generator_of_pairs(self, written):
        _, x = made("image_and_table")
        stream = (((image, table), 0) for image, table in zip(*x, strict=True))
        exported, _ = written("image_and_table", "int8", representative=stream)
        assert exported.parity.relative_rms < 0.1
        assert exported.float_ops == ()


class TestSeveralOutputs:
    @pytest.mark.parametrize("storage", ["float32", "dynamic", "int8"])
    def test_each_is_compared_by_its_name(self, written, storage):
        exported, loaded = written("nested_outputs", storage)
        model, x = made("nested_outputs")
        assert list(exported.outputs) == ["label", "offset", "size"]
        assert list(exported.parity.outputs) == ["label", "offset", "size"]
        assert exported.parity.outputs["label"].agreement >= 0.9
        assert exported.parity.outputs["size"].agreement is None
        assert "label" in repr(exported)
        got = loaded(x)
        assert list(got) == ["label", "offset", "size"]
        for values, right in zip(got.values(), predicted(model, x), strict=True):
            assert relative_rms(right, values) <= (1e-6 if storage == "float32" else 0.1)

    def test_json_has_each(self, written):
        exported, _ = written("two_heads", "float32")
        figures = exported.parity.to_json()
        assert list(figures["outputs"]) == ["scores", "boxes"]
        assert figures["outputs"]["boxes"]["ties"] == 0
        assert "outputs" not in figures["outputs"]["boxes"]

    def test_the_one_that_is_off_is_named(self, tmp_path):
        model, x = made("two_heads")
        other = keras.models.clone_model(model)
        other.set_weights(model.get_weights())
        bias = other.get_layer("boxes").bias
        bias.assign(bias + 1.0)
        convert.float_file(other, tmp_path / "m.tflite")
        with pytest.raises(ExportError, match=r"differs from Keras: output 'boxes' by up to 1\b"):
            verify.check_parity(
                model, tmp_path / "m.tflite", x, storages.get("int8").usual, storage="int8"
            )

    def test_names_are_unique(self):
        a, layer = keras.Input((3,), name="a"), layers.Dense(2, name="d")
        model = keras.Model(a, [layer(a), layer(2 * a), layers.Dense(1, name="e")(a)])
        assert [y.name for y in model_outputs(model)] == ["d", "d_1", "e"]
        assert [x.name for x in model_inputs(model)] == ["a"]
        by_key = keras.Model({"key": a}, {"second": layer(a), "first": layer(2 * a)})
        assert [y.name for y in model_outputs(by_key)] == ["first", "second"]
        assert [x.name for x in model_inputs(by_key)] == ["key"]

    def test_an_output_twice_and_an_input_as_one(self, tmp_path):
        a, b = keras.Input((3,), name="a"), keras.Input((4,), name="b")
        y = layers.Dense(2, name="d")(b)
        model = keras.Model([a, b], {"one": y, "same": y, "given": a})
        x = [np.ones((2, 3), "float32"), np.ones((2, 4), "float32")]
        export(model, tmp_path / "m.tflite", representative=x)
        got = LiteModel(tmp_path / "m.tflite").predict({"a": x[0], "b": x[1]})
        assert list(got) == ["given", "one", "same"]
        for name, right in model(x).items():
            np.testing.assert_allclose(got[name], right, atol=1e-6)


class TestWhatAnOutputIs:
    """Labels where outputs score classes, the relative rms elsewhere."""

    def classes(self, make, loss=None, shape=(4,)):
        inputs = keras.Input(shape)
        model = keras.Model(inputs, make(inputs))
        if loss is not None:
            model.compile(loss=loss)
        return [y.classes for y in model_outputs(model)]

    def test_softmax_and_scores(self):
        assert self.classes(layers.Dense(3, activation="softmax")) == [3]
        assert self.classes(lambda x: layers.Softmax()(layers.Dense(3)(x))) == [3]
        assert self.classes(layers.Dense(3)) == [3]  # Scores before a softmax, as ever.
        assert self.classes(layers.Dense(5, activation="softmax"), shape=(6, 4)) == [5]
        nested = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
        assert self.classes(nested) == [3]

    def test_numbers(self):
        assert self.classes(layers.Dense(1)) == [None]
        assert self.classes(layers.Dense(3, activation="sigmoid")) == [None]
        assert self.classes(layers.Dense(3), loss="mse") == [None]
        assert self.classes(layers.Dense(3), loss=keras.losses.Huber()) == [None]
        assert self.classes(layers.Dense(3), shape=(6, 4)) == [None]
        two = self.classes(lambda x: [layers.Dense(3)(x), layers.Dense(3, "softmax")(x)])
        assert two == [None, 3]

    def test_labels_say_nothing_of_an_autoencoder(self, written):
        exported, _ = written("autoencoder", "int8")
        assert exported.parity.agreement is None
        assert exported.parity.relative_rms < 0.01

    def test_the_rms_of_numbers_has_a_bound(self, tmp_path):
        """A file whose largest difference is within bounds, and whose rms isn't."""
        inputs = keras.Input((1,))
        model = keras.Model(inputs, layers.Dense(1)(inputs))
        model.layers[-1].set_weights([np.ones((1, 1)), np.zeros(1)])
        other = keras.models.clone_model(model)
        other.layers[-1].set_weights([np.ones((1, 1)), np.ones(1)])
        convert.float_file(other, tmp_path / "m.tflite")
        x = np.zeros((50, 1), "float32")
        x[0] = 20  # One large value: 1 is 5% of it, and a third of the outputs' rms.
        dynamic = storages.get("dynamic").usual
        with pytest.raises(ExportError, match=r"by 0\.354 of their rms \(storage any allows 0\.1"):
            verify.check_parity(model, tmp_path / "m.tflite", x, dynamic, storage="any")

    def test_few_rows_to_take_ranges_from_are_told(self, tmp_path):
        inputs = keras.Input((1,))
        model = keras.Model(inputs, layers.Dense(1)(inputs))
        x = np.where(np.arange(20)[:, None] % 2, 9.0, 1.0).astype("float32")
        with pytest.raises(ExportError, match="the ranges come from 10 rows: give a hundred"):
            export(
                model,
                tmp_path / "m.tflite",
                storage="int8",
                representative=x[1::2],
                calibration=x[::2],
            )


class TestSequences:
    @pytest.mark.parametrize("storage", ["float16", "dynamic", "int8"])
    @pytest.mark.parametrize("name", ["lstm", "bidirectional_gru"])
    def test_a_loops_weights_are_rounded(self, written, name, storage):
        exported, _ = written(name, storage)
        assert exported.ops["WHILE"] == 2
        kind = "float16" if storage == "float16" else "int8"
        assert exported.weight_bytes[kind] > exported.weight_bytes.get("float32", 0) / 2
        content = read(exported.path)
        dense = [op for op in content.ops if op.subgraph and op.name == "FULLY_CONNECTED"]
        if storage != "float16":
            assert {op.inputs[1].dtype for op in dense} == {"int8"}
        if storage == "int8":
            assert any("a loop over time steps" in note for note in exported.notes)

    def test_few_bits_are_timed_and_a_loop_is_not(self, tmp_path):
        convert.float_file(made("lstm")[0], tmp_path / "m.tflite")
        ops = read(tmp_path / "m.tflite").ops
        inside = [op.outputs[0].name for op in ops if op.subgraph and op.name == "FULLY_CONNECTED"]
        bits, reasons = low_bits.choose(tmp_path / "m.tflite", inside, 4)
        assert set(bits.values()) == {8}
        assert set(reasons.values()) == {"8 bits: it runs in a loop, where no layer is timed"}

    def test_attention_in_integers(self, written):
        """The product of two activations stays float: XNNPACK has it wrong in integers."""
        exported, _ = written("transformer", "int8")
        assert exported.inputs == {"tokens": "int32 (1, 12)"}
        assert any(op.startswith("BATCH_MATMUL") for op in exported.float_ops)
        assert exported.weight_bytes.get("float32", 0) == 0

    def test_an_unrolled_loop_is_integers_throughout(self, tmp_path):
        inputs = keras.Input((5, 4))
        model = keras.Model(inputs, layers.Dense(2)(layers.LSTM(5, unroll=True)(inputs)))
        x = np.random.default_rng(0).normal(size=(200, 5, 4)).astype("float32")
        exported = export(model, tmp_path / "m.tflite", storage="int8", representative=x)
        assert exported.float_ops == ()
        assert "SPLIT" in exported.ops


class TestOpenSizes:
    @pytest.mark.parametrize("storage", ["float32", "dynamic", "int8"])
    @pytest.mark.parametrize("name", ["any_length", "any_length_lstm"])
    def test_other_lengths(self, written, name, storage):
        exported, loaded = written(name, storage)
        model, x = made(name)
        assert exported.inputs["sequence"] == f"float32 {(1, *x.shape[1:])}"
        assert any("sizes that the model leaves open" in note for note in exported.notes)
        for length in (x.shape[1], 5, 31, 5):
            rows = np.resize(x, (3, length, 6))
            right = model.predict(rows, verbose=0)
            assert relative_rms(right, loaded(rows)) <= (1e-5 if storage == "float32" else 0.15)

    def test_other_image_sizes(self, written):
        exported, classify = written("any_size", "float32")
        model, x = made("any_size")
        assert read(exported.path).inputs[0].shape == (1, 18, 14, 3)
        rows = np.resize(x, (2, 25, 33, 3))
        np.testing.assert_allclose(
            classify.predict(rows), model.predict(rows, verbose=0), atol=1e-5
        )
        with pytest.raises(InputError, match=r"can't be run on inputs of shape \(1, 2, 2, 3\)"):
            classify.predict(np.zeros((1, 2, 2, 3)))
        with pytest.raises(InputError, match=r"shape \(n, any, any, 3\); got \(1, 9, 9, 4\)"):
            classify.predict(np.zeros((1, 9, 9, 4)))

    def test_without_data_the_usual_size_is_a_guess(self, tmp_path):
        exported = export(made("any_length")[0], tmp_path / "m.tflite")
        assert exported.inputs["sequence"] == "float32 (1, 64, 6)"


class TestRefused:
    def test_text(self, written, tmp_path):
        with pytest.raises(
            InputError, match=r"'review' .* takes text, and a \.tflite takes numbers"
        ):
            written("text", "float32")

    def test_subclassed_and_the_way_out(self, tmp_path):
        model, x = made("subclassed")
        with pytest.raises(InputError, match="subclassed and has no graph: give one") as error:
            export(model, tmp_path / "m.tflite")
        names = {"keras": keras, "shape": (9,), model.name: model}
        exec(str(error.value).split("its weights, ")[1], names)
        export(names["functional"], tmp_path / "m.tflite", representative=x)
        got = LiteModel(tmp_path / "m.tflite").predict(x)
        np.testing.assert_allclose(got, model(x), atol=1e-5)

    def test_lookups_and_kept_states(self, tmp_path):
        ids = keras.Input((1,), dtype="int64")
        found = layers.IntegerLookup(vocabulary=[3, 5], name="find")(ids)
        model = keras.Model(ids, layers.Dense(1)(layers.Embedding(4, 3)(found)))
        with pytest.raises(InputError, match=r"'find' \(IntegerLookup\) needs ops that no"):
            export(model, tmp_path / "m.tflite")
        steps = keras.Input(batch_shape=(1, 5, 4))
        model = keras.Model(steps, layers.GRU(3, stateful=True, name="kept")(steps))
        with pytest.raises(InputError, match=r"'kept' \(GRU\) keeps its state between calls"):
            export(model, tmp_path / "m.tflite")

    def test_what_the_converter_can_not_take(self, tmp_path):
        inputs = keras.Input((None, None, 3))
        model = keras.Model(inputs, layers.UpSampling2D(interpolation="bilinear")(inputs))
        with pytest.raises(ExportError, match=r"can't convert model '.*UpSampling2D") as error:
            export(model, tmp_path / "m.tflite")
        assert "\n" not in str(error.value)
        assert list(tmp_path.iterdir()) == []


class TestInspect:
    def test_names_and_open_sizes(self, written):
        text = self.text(written("image_and_table", "float32")[0].path)
        assert "image: float32 1 x 12 x 12 x 3; table: float32 1 x 5" in text
        text = self.text(written("any_length", "float32")[0].path)
        assert "float32 1 x any (20) x 6" in text

    def text(self, path):
        return " ".join(file_summary.summary_text(file_summary.describe(path, None)).split())


class TestTypes:
    def test_bytes_stay_bytes(self, written):
        exported, classify = written("pixels", "int8")
        model, x = made("pixels")
        assert exported.inputs == {"image": "uint8 (1, 12, 12, 3)"}
        assert relative_rms(model.predict(x, verbose=0), classify.predict(x)) < 0.05

    def test_half_precision_takes_float32(self, written):
        exported, loaded = written("pure_half", "int8")
        assert exported.inputs == {"row": "float32 (1, 9)"}
        assert loaded(made("pure_half")[1]).dtype == np.float32

    @pytest.mark.parametrize("io", ["int8", "uint8"])
    def test_integer_ends_leave_indices_alone(self, written, io):
        exported, _ = written("transformer", "int8", io=io)
        assert exported.inputs == {"tokens": "int32 (1, 12)"}
        assert next(iter(exported.outputs.values())) == f"{io} (1, 3)"

    def test_outputs_of_integers_stay_integers(self, tmp_path):
        inputs = keras.Input((4,))
        y = layers.Dense(3)(inputs)
        signs = keras.ops.cast(y > 0, "int32")
        model = keras.Model(inputs, {"signs": signs, "scores": y})
        x = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
        export(model, tmp_path / "m.tflite", representative=x)
        got = LiteModel(tmp_path / "m.tflite").predict(x)
        assert got["signs"].dtype == np.int32
        np.testing.assert_array_equal(got["signs"], got["scores"] > 0)


class TestMetadata:
    LABELS = ("a", "b", "c")
    SAID = Metadata(description="two", labels=LABELS)

    def test_labels_of_the_output_with_as_many_scores(self, written):
        exported, _ = written("nested_outputs", "float32", metadata=self.SAID)
        assert metadata.read(exported.path) == self.SAID

    def test_a_normalisation_is_the_images(self, written):
        said = Metadata(mean=(128.0,), std=(32.0,))
        exported, loaded = written("image_and_table", "int8", metadata=said, io="uint8")
        assert metadata.read(exported.path) == said
        assert loaded.inputs[0].details["quantization"] == (1 / 32, 128)
        assert loaded.inputs[1].details["quantization"][0] != 1 / 32

    def test_labels_that_fit_none_or_two(self, tmp_path):
        a = keras.Input((3,))
        model = keras.Model(a, [layers.Dense(3)(a), layers.Dense(3)(a)])
        with pytest.raises(InputError, match="3 labels, and 2 outputs of the file have as many"):
            export(model, tmp_path / "m.tflite", labels=self.LABELS)
        with pytest.raises(InputError, match="4 labels to a file with 3 and 3 outputs"):
            export(model, tmp_path / "m.tflite", labels=("a", "b", "c", "d"))

    def test_a_failed_check_is_described(self, tmp_path):
        """Of a file with two outputs, too."""
        model, x = made("nested_outputs")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = export(
                model,
                tmp_path / "m.tflite",
                storage="int8",
                calibration=x[:2],
                representative=5 * x,
                strict=False,
            )
        assert exported.failed_check
        assert "Failed its check" in metadata.read(exported.path).description
