import pathlib
import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from PIL import Image

import tfcompress
from tests.export import handmade
from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel, Metadata, load, process

LABELS = ("ant", "bee", "cat", "dog", "eel")
MEAN, STD = (100.0, 120.0, 90.0), (50.0, 60.0, 70.0)


@pytest.fixture(scope="module")
def files(tiny, tmp_path_factory):
    """The float and the int8 file with metadata, and the float one without its softmax."""
    from tfcompress.tflite import metadata_writer

    folder = tmp_path_factory.mktemp("files")
    said = Metadata(labels=LABELS, mean=MEAN, std=STD)
    found = {}
    for name, path in (("float", tiny.path), ("int8", tiny.int8_path)):
        found[name] = folder / f"{name}.tflite"
        found[name].write_bytes(path.read_bytes())
        metadata_writer.write_metadata(found[name], said)
    model = schema.ModelT.InitFromPackedBuf(tiny.path.read_bytes(), 0)
    graph = model.subgraphs[0]
    graph.outputs = [int(graph.operators.pop().inputs[0])]
    model.signatureDefs = None
    found["scores"] = folder / "scores.tflite"
    found["scores"].write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    metadata_writer.write_metadata(found["scores"], said)
    return found


def picture(height=8, width=8, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def expected(tiny, image):
    return tiny.model((image[None] - np.float32(MEAN)) / np.float32(STD)).numpy()[0]


@pytest.mark.parametrize("name", ["float", "scores"])
def test_probabilities_are_keras_s(tiny, files, name):
    classify = load(files[name])
    np.testing.assert_allclose(
        classify.probabilities(picture()), expected(tiny, picture()), atol=1e-5
    )


def test_large_scores_have_finite_probabilities(files, monkeypatch):
    """Their powers of e are larger than any float32."""
    scores = np.array([[1000.0, 999.0, 0.0, -1000.0, 998.0]], np.float32)
    monkeypatch.setattr(LiteModel, "predict", lambda self, x: scores)
    powers = np.exp(np.array([0.0, -1.0, -1000.0, -2000.0, -2.0]))
    found = load(files["scores"]).probabilities(picture())
    np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-6)


def test_the_most_probable_first(tiny, files):
    right = expected(tiny, picture())
    found = load(files["float"])(picture(), top=3)
    assert [p.index for p in found] == sorted(range(5), key=lambda i: -right[i])[:3]
    assert [p.label for p in found] == [LABELS[p.index] for p in found]
    assert [p.probability for p in found] == pytest.approx(
        sorted(right, reverse=True)[:3], abs=1e-5
    )
    assert len(load(files["float"])(picture(), top=9)) == 5


def test_int8(tiny, files):
    classify = load(files["int8"])
    np.testing.assert_allclose(
        classify.probabilities(picture()), expected(tiny, picture()), atol=0.05
    )


def test_every_form_of_an_image(files, tmp_path):
    classify = load(files["float"])
    image = picture()
    path = tmp_path / "image.png"
    Image.fromarray(image).save(path)
    normalised = (image - np.float32(MEAN)) / np.float32(STD)
    first = classify.probabilities(image)
    for other in (path, str(path), Image.open(path), normalised):
        np.testing.assert_array_equal(classify.probabilities(other), first)


class TestWithoutMetadata:
    def test_numbers_for_labels_and_floats_for_images(self, tiny):
        x = np.random.default_rng(3).standard_normal((8, 8, 3)).astype(np.float32)
        found = load(tiny.path)(x, top=1)[0]
        right = tiny.model(x[None]).numpy()[0]
        assert (found.label, found.index) == (str(right.argmax()), right.argmax())
        assert found.probability == pytest.approx(right.max(), abs=1e-5)

    def test_pixels_need_a_normalisation(self, tiny):
        with pytest.raises(InputError, match="how pixels are normalised: give a float array"):
            load(tiny.path)(picture())

    def test_bytes_are_pixels(self, tiny, tmp_path):
        from tfcompress.export import io_types

        path = tmp_path / "m.tflite"
        path.write_bytes(tiny.int8_path.read_bytes())
        io_types.change(path, "uint8", (100.0,), (50.0,))
        right = LiteModel(tiny.int8_path).predict((picture()[None] - 100.0) / 50.0)[0]
        found = load(path).probabilities(picture())
        np.testing.assert_allclose(found, right, atol=3 / 256)


class TestRefused:
    def test_top(self, files):
        with pytest.raises(InputError, match="top must be 1 or more; got 0"):
            load(files["float"])(picture(), top=0)

    def test_floats_of_another_shape(self, files):
        with pytest.raises(InputError, match=r"must have the file's shape \(8, 8, 3\)"):
            load(files["float"])(np.zeros((9, 8, 3)))

    def test_a_file_without_images(self, tmp_path, tiny):
        import keras

        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        path = tmp_path / "m.tflite"
        signature = [keras.InputSpec(shape=(1, 4), dtype="float32")]
        model.export(str(path), format="litert", input_signature=signature, verbose=False)
        with pytest.raises(InputError, match=r"inputs of shape \(4,\), which is no image"):
            load(path, arrays=False)
        x = np.ones((3, 4), np.float32)
        np.testing.assert_allclose(load(path)(x), model(x), atol=1e-6)
        np.testing.assert_allclose(load(path).predict(x), model(x), atol=1e-6)

    def test_arrays_for_a_classifier(self, tiny, files):
        x = np.ones((3, 8, 8, 3), np.float32)
        for model in (load(files["float"]), load(files["float"], arrays=True)):
            np.testing.assert_allclose(model.predict(x), tiny.model(x), atol=1e-5)

    @pytest.mark.parametrize("check", [True, False])
    def test_a_bad_file(self, tmp_path, tiny, check):
        path = tmp_path / "m.tflite"
        for data in (b"", b"no model at all", tiny.path.read_bytes()[:900]):
            path.write_bytes(data)
            with pytest.raises(InputError, match=r"m\.tflite"):
                load(path, check=check)


def test_the_door(files):
    assert tfcompress.load is load
    assert tfcompress.Metadata is Metadata
    assert tfcompress.load(pathlib.Path(files["float"])).labels == LABELS


@pytest.mark.skipif(sys.platform == "win32", reason="its peak isn't known there")
def test_a_small_file_that_takes_much_memory(tmp_path, monkeypatch):
    """0.7 KB, of which one tensor says that it has 30 million numbers; LiteRT writes them all."""
    layers = [handmade.Dense(np.ones((3, size), np.float32)) for size in (8, 3)]
    path = handmade.save(tmp_path / "m.tflite", (1, 8), *layers)

    def enlarge(model):
        (tensor,) = (one for one in model.subgraphs[0].tensors if one.name == b"y0")
        tensor.shape = [10_000_000, 3]

    handmade.changed(path, enlarge)
    monkeypatch.setattr(process, "LOAD_BYTES", 128 << 20)
    with pytest.raises(InputError, match="MiB to be loaded and run once, more than the 128 that"):
        load(path)
    assert process.check(path) is None  # Who doesn't load it may look at it.
