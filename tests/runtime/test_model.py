import numpy as np
import pytest

from tests.export.handmade import Dense, Reshape, changed, save
from tfcompress.errors import InputError
from tfcompress.runtime.model import LiteModel, dequantize, quantize


def images(count):
    return np.random.default_rng(3).standard_normal((count, 8, 8, 3)).astype(np.float32)


@pytest.mark.parametrize("xnnpack", [True, False])
def test_predicts_what_keras_predicts(tiny, xnnpack):
    x = images(5)
    lite = LiteModel(tiny.path, xnnpack=xnnpack)
    y = lite.predict(x)
    assert y.dtype == np.float32
    assert y.shape == (5, 5)
    np.testing.assert_allclose(y, tiny.model(x).numpy(), atol=1e-5)


def test_says_its_shapes_and_types(tiny):
    lite = LiteModel(tiny.path)
    assert lite.input_shape == (1, 8, 8, 3)
    assert lite.output_shape == (1, 5)
    assert (lite.input_dtype, lite.output_dtype) == ("float32", "float32")


def test_int8_file_takes_and_gives_real_numbers(tiny):
    x = images(4)
    lite = LiteModel(tiny.int8_path)
    assert (lite.input_dtype, lite.output_dtype) == ("int8", "int8")
    y = lite.predict(x)
    # Softmax of an int8 file has a step of 1/256; a tiny net adds a few steps.
    np.testing.assert_allclose(y, tiny.model(x).numpy(), atol=0.05)
    assert np.abs(y * 256 - np.rint(y * 256)).max() < 1e-4


def test_int8_file_refuses_nan(tiny):
    x = images(1)
    x[0, 0, 0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        LiteModel(tiny.int8_path).predict(x)


def test_values_inside_a_file(tmp_path):
    """Parts of an image that stand beside the batch are all kept."""
    kernel = np.arange(12, dtype=np.float32).reshape(6, 2)
    layers = Dense(kernel), Reshape((3, 2)), Dense(np.eye(2, dtype=np.float32)), Reshape((1, 6))
    path = save(tmp_path / "m.tflite", (1, 2), *layers)
    x = np.array([[1, 0], [2, -1]], np.float32)
    right = x @ kernel.T
    found = LiteModel(path, keep_all=True).tensors(x, ["y0", "y1", "y2", "y3"])
    for values, shape in zip(found, [(2, 6), (2, 3, 2), (2, 3, 2), (2, 6)], strict=True):
        np.testing.assert_array_equal(values, right.reshape(shape))


def test_no_images_give_no_predictions(tiny):
    assert LiteModel(tiny.path).predict(images(0)).shape == (0, 5)


def test_fixed_batch_above_one(tiny, tmp_path):
    import keras

    path = tmp_path / "batch.tflite"
    signature = [keras.InputSpec(shape=(4, 8, 8, 3), dtype="float32")]
    tiny.model.export(str(path), format="litert", input_signature=signature, verbose=False)
    lite = LiteModel(path)
    assert lite.input_shape[0] == 4
    np.testing.assert_allclose(lite.predict(images(6)), tiny.model(images(6)).numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (2, 8, 8, 1), (2, 7, 8, 3)])
def test_wrong_shape(tiny, shape):
    with pytest.raises(InputError, match=r"takes inputs of shape \(n, 8, 8, 3\); got"):
        LiteModel(tiny.path).predict(np.zeros(shape, np.float32))


def test_threads_below_one(tiny):
    with pytest.raises(InputError, match="threads must be 1 or more; got 0"):
        LiteModel(tiny.path, threads=0)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        LiteModel(tmp_path / "absent.tflite")
    with pytest.raises(InputError, match="is not a file"):
        LiteModel(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"TFL3", "is not a .tflite file"),
        (b"a text file, not a model", "is not a .tflite file"),
        (b"\x1c\x00\x00\x00TFL2" + bytes(100), "is not a .tflite file"),
        (b"\xff\xff\xff\x7fTFL3" + bytes(100), "cut short or corrupt"),
        (b"\x1c\x00\x00\x00TFL3" + b"\xff" * 100, "cut short or corrupt"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    path = tmp_path / "wrong.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        LiteModel(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tensor", [0, -1])
def test_a_name_that_is_no_text(tmp_path, tensor):
    path = save(tmp_path / "m.tflite", (1, 4), Dense(np.ones((3, 4), np.float32)))

    def rename(model):
        model.subgraphs[0].tensors[tensor].name = b"y\xa3"

    with pytest.raises(InputError, match=r"is cut short or corrupt .*'utf-8' codec") as caught:
        LiteModel(changed(path, rename))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.999])
def test_truncated(tiny, tmp_path, share):
    content = tiny.path.read_bytes()
    path = tmp_path / "short.tflite"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"short\.tflite is cut short or corrupt"):
        LiteModel(path)


def test_quantization_by_hand():
    details = {"dtype": np.int8, "quantization": (0.5, -3)}
    x = np.array([0.0, 1.0, -1.2, 1000.0, -1000.0])
    # -1.2 / 0.5 = -2.4, rounded -2, moved by -3
    np.testing.assert_array_equal(quantize(x, details), [-3, -1, -5, 127, -128])
    back = dequantize(np.array([-3, -1, 127], np.int8), details)
    np.testing.assert_array_equal(back, np.array([0.0, 1.0, 65.0], np.float32))
    raw = {"dtype": np.uint8, "quantization": (0.0, 0)}
    np.testing.assert_array_equal(quantize(np.array([0.0, 254.6, 300.0]), raw), [0, 255, 255])
