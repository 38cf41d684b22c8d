"""The model card of a file that is made by hand: one RELU of an image."""

import dataclasses

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tests.report.conftest import BITS, RUN
from tfcompress.report import plots
from tfcompress.report.card import model_card
from tfcompress.report.write import write_all
from tfcompress.tflite import metadata_writer
from tfcompress.tflite.metadata import Metadata

EVIL = "<script>|"


def relu_file(path):
    graph = schema.SubGraphT()
    graph.tensors = []
    for name in (b"image", b"scores"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name, [1, 2], 0
        graph.tensors.append(tensor)
    op = schema.OperatorT()
    op.inputs, op.outputs = [0], [1]
    graph.operators, graph.inputs, graph.outputs = [op], [0], [1]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RELU
    code.version = 1
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, [code], [graph]
    model.buffers = [schema.BufferT()]
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(model)))


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / RUN.compressed.path
    relu_file(path)
    metadata_writer.write_metadata(
        path,
        Metadata(name="a net", labels=("cat", EVIL), licence="MIT", mean=(1.5,), std=(2.0,)),
    )
    return tmp_path


def test_says_what_stands_in_the_file(folder):
    about = model_card(RUN, folder)
    assert about.title == "a net"
    assert about.file == "compressed.tflite"
    assert about.metadata.labels == ("cat", EVIL)
    assert about.inputs[0].startswith("float32 1x2: (pixel - mean) / std")
    assert "mean 1.5, std 2" in about.inputs[0]
    assert about.outputs[0].startswith("float32 1x2")
    assert "TensorFlow Lite 1.5.0" in about.runtime
    assert [row.label for row in about.rows][:2] == ["accuracy of the file", "file size, KiB"]


def test_is_written_beside_the_report(folder, drawn, monkeypatch):
    monkeypatch.setattr(plots, "pictures", lambda result: drawn)
    names = [path.name for path in write_all(RUN, folder)]
    assert "README.md" in names
    text = (folder / "README.md").read_text()
    assert "classes" in text
    for part in ("0.9085", "MIT", RUN.command, "One seed", "tfcompress.load"):
        assert part in text
    assert "<script>" not in text
    assert "&lt;script>\\|" in text


def test_a_file_without_metadata(tmp_path):
    relu_file(tmp_path / RUN.compressed.path)
    about = model_card(RUN, tmp_path)
    assert about.title == f"{RUN.model} on {RUN.dataset}"
    assert "normalised as in training" in about.inputs[0]


def test_no_file_no_card(tmp_path, drawn, monkeypatch):
    monkeypatch.setattr(plots, "pictures", lambda result: drawn)
    assert model_card(RUN, tmp_path) is None
    elsewhere = dataclasses.replace(
        RUN, files=[dataclasses.replace(RUN.compressed, path="other.tflite")]
    )
    assert "README.md" not in [path.name for path in write_all(elsewhere, tmp_path)]


def test_the_other_files_of_the_network_are_named(folder):
    write_all(dataclasses.replace(RUN, files=[RUN.compressed, BITS]), folder)
    text = (folder / "README.md").read_text()
    assert (
        "`compressed-xnor.tflite`: the same network stored as xnor, which runs with 1-bit" in text
    )
