import zipfile
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.export.conftest import binary_net, real_images
from tests.export.conftest import images as images
from tests.export.conftest import net as net
from tfcompress.errors import InputError
from tfcompress.export import export, io_types
from tfcompress.runtime import LiteModel
from tfcompress.tflite import metadata_writer
from tfcompress.tflite.content import read
from tfcompress.tflite.metadata import Metadata
from tfcompress.tflite.metadata import read as said_by

LABELS = ("T-shirt/top", "Trouser", "Kleid, lang", "ß", "bag")
SAID = Metadata(
    name="net",
    description="five classes\nof random images",
    version="1.2",
    author="who trained it",
    licence="Apache-2.0",
    labels=LABELS,
    mean=(127.5, 127.25, 0.5),
    std=(127.5, 64.0, 2.0),
)


@pytest.fixture(scope="module")
def written(net, images, tmp_path_factory):
    path = tmp_path_factory.mktemp("metadata") / "m.tflite"
    return export(net, path, representative=images, metadata=SAID)


@pytest.fixture(scope="module")
def integers(tmp_path_factory):
    """A file that computes in integers, from end to end."""
    path = tmp_path_factory.mktemp("integers") / "m.tflite"
    options = {"storage": "int8", "representative": real_images(60), "io": "int8"}
    export(binary_net(inputs=False), path, **options)
    return path


def changed(integers, tmp_path, *args):
    path = tmp_path / "changed.tflite"
    path.write_bytes(integers.read_bytes())
    io_types.change(path, *args)
    return path


class TestMetadata:
    def test_there_and_back(self, written):
        assert said_by(written.path) == SAID

    def test_the_labels_are_a_plain_file_behind_the_model(self, written):
        with zipfile.ZipFile(written.path) as archive:
            assert archive.namelist() == ["labels.txt"]
            assert archive.infolist()[0].compress_type == zipfile.ZIP_STORED
            assert archive.read("labels.txt").decode() == "".join(f"{x}\n" for x in LABELS)

    def test_the_runtime_is_told(self, written):
        model = schema.ModelT.InitFromPackedBuf(Path(written.path).read_bytes(), 0)
        values = {e.name: bytes(model.buffers[e.buffer].data) for e in model.metadata}
        release = values[b"min_runtime_version"]
        assert len(release) == 16
        assert written.min_runtime.startswith(
            f"TensorFlow Lite {release.rstrip(bytes(1)).decode()}"
        )

    def test_the_weights_stay(self, written, net, images, tmp_path):
        plain = export(net, tmp_path / "m.tflite", representative=images)
        assert said_by(plain.path) is None
        np.testing.assert_array_equal(
            LiteModel(written.path).predict(images), LiteModel(plain.path).predict(images)
        )
        assert 0 < written.size_bytes - plain.size_bytes < 2048
        assert read(written.path).op_counts() == read(plain.path).op_counts()

    def test_the_same_bytes_every_time(self, written, net, images, tmp_path):
        again = export(net, tmp_path / "m.tflite", representative=images, metadata=SAID)
        assert metadata_writer.packed(read(again.path), SAID) == metadata_writer.packed(
            read(written.path), SAID
        )
        before = Path(again.path).read_bytes()
        metadata_writer.write_metadata(tmp_path / "m.tflite", SAID)
        assert Path(again.path).read_bytes() == before

    def test_written_anew(self, written, tmp_path):
        path = tmp_path / "m.tflite"
        path.write_bytes(Path(written.path).read_bytes())
        metadata_writer.write_metadata(path, Metadata(name="other"))
        assert said_by(path) == Metadata(name="other")

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            ({"labels": ("a", "b")}, "2 labels to a file with 5 outputs"),
            ({"mean": (1, 2), "std": (1, 2)}, "2 means to a file with 3 channels"),
        ],
    )
    def test_what_does_not_fit(self, net, tmp_path, said, message):
        with pytest.raises(InputError, match=message):
            export(net, tmp_path / "m.tflite", metadata=Metadata(**said))
        assert list(tmp_path.iterdir()) == []


class TestEnds:
    @pytest.mark.parametrize("io", ["float32", "uint8"])
    def test_the_numbers_stay(self, integers, tmp_path, io):
        images = real_images(20, seed=3)
        path = changed(integers, tmp_path, io)
        model = LiteModel(path)
        assert (model.input_dtype, model.output_dtype) == (io, io)
        # QUANTIZE rounds as NumPy does, but for halves, and a uint8 is the int8 moved by 128.
        expected = LiteModel(integers).predict(images)
        np.testing.assert_allclose(model.predict(images), expected, atol=1e-6)
        assert read(path).inputs[0].name == read(integers).inputs[0].name

    def test_bytes_are_pixels(self, integers, tmp_path):
        mean, std = (100.0,) * 3, (50.0,) * 3
        path = changed(integers, tmp_path, "uint8", mean, std)
        pixels = np.random.default_rng(0).integers(0, 256, (9, 15, 15, 3))
        normalised = (pixels - 100.0) / 50.0
        model = LiteModel(path)
        details = model._interpreter.get_input_details()[0]
        assert details["quantization"] == (pytest.approx(0.02), 100)
        got = []
        for image in pixels:
            model._interpreter.set_tensor(details["index"], image[None].astype(np.uint8))
            model._interpreter.invoke()
            got.append(model._interpreter.get_tensor(model.outputs[0].details["index"])[0])
        scale, zero = model.outputs[0].details["quantization"]
        expected = LiteModel(integers).predict(normalised)
        # Pixels between two steps of the grid may fall either way.
        np.testing.assert_allclose(scale * (np.array(got) - float(zero)), expected, atol=3 * scale)

    def test_by_themselves_where_the_normalisation_is_told(self, integers, tmp_path):
        options = {"storage": "int8", "representative": real_images(60)}
        said = Metadata(mean=(0.0,), std=(1.0,))
        written = export(binary_net(inputs=False), tmp_path / "m.tflite", metadata=said, **options)
        assert LiteModel(written.path).input_dtype == "float32"
        before = read(integers).op_counts()
        for name in ("QUANTIZE", "DEQUANTIZE"):
            assert written.ops[name] == before.get(name, 0) + 1
        export(binary_net(inputs=False), written.path, metadata=said, io="int8", **options)
        assert LiteModel(written.path).input_dtype == "int8"

    def test_refused(self, net, integers, tmp_path):
        with pytest.raises(InputError, match="io must be one of float32, int8, uint8"):
            changed(integers, tmp_path, "int4")
        with pytest.raises(InputError, match="one scale for all channels"):
            changed(integers, tmp_path, "uint8", (1, 2, 3), (1, 1, 1))
        with pytest.raises(InputError, match="takes and gives float32: leave io out"):
            export(net, tmp_path / "m.tflite", io="uint8")


def test_bytes_by_layer(written, net):
    """The binary net's kernels, one layer each, and nothing twice."""
    found = written.layer_bytes
    assert sum(found.values()) == sum(read(written.path).weight_bytes.values())
    for name in ("strided", "same", "valid", "hidden"):
        assert found[name] >= 4 * net.get_layer(name).kernel.shape.num_elements()
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found["strided"] < 4 * (9 * 8 * 12 + 3 * 12)
    assert written.load_ms > 0
