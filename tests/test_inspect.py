import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from tests.printed import assert_one_error_line
from tfcompress import inspect
from tfcompress.benchmark import file_summary
from tfcompress.export import export
from tfcompress.runtime import Metadata
from tfcompress.runtime.activation_errors import ActivationError, ActivationErrors
from tfcompress.tflite.content import read

LABELS = tuple(f"class {number}" for number in range(5))


def small_net():
    keras.utils.set_random_seed(0)
    layers = keras.layers
    body = [layers.Conv2D(8, 3, activation="relu"), layers.Conv2D(8, 3), layers.Flatten()]
    return keras.Sequential([keras.Input((15, 15, 3)), *body, layers.Dense(5)])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file with 8-bit weights and float activations."""
    path = tmp_path_factory.mktemp("inspect") / "m.tflite"
    said = Metadata(name="net", description="two\nlines", labels=LABELS, mean=(1.5,), std=(2,))
    return export(small_net(), path, storage="dynamic", metadata=said)


def run(*arguments):
    return inspect.main(["inspect", *map(str, arguments)])


def test_json(written, capsys):
    assert run(written.path, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    content = read(written.path)
    assert found["size_bytes"] == written.size_bytes
    assert 0 < found["gzip_bytes"] < found["size_bytes"]
    assert found["macs"] == content.macs
    assert sum(op["count"] for op in found["ops"]) == len(content.ops)
    assert {op["name"] for op in found["ops"]} == set(content.op_counts())
    (dense,) = (
        op for op in found["ops"] if op["name"] == "FULLY_CONNECTED" and "int8" in op["types"]
    )
    assert (dense["version"], dense["since"]) == (12, "2.17")
    sizes = [tensor["size_bytes"] for tensor in found["constants"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(sizes) == sum(content.weight_bytes.values())
    (kind,) = found["arithmetic"]
    assert kind["text"] == "float computation with int8 weights (dynamic range)"
    assert found["metadata"]["labels"] == list(LABELS)
    assert found["oldest_runtime"]["tensorflow_lite"] == "2.17.0"
    assert found["oldest_runtime"]["unknown"] == []
    assert (found["runs_here"], found["runtime_said"]) == (True, None)
    assert found["issues"] == []
    assert found["tried"].startswith("run once on random inputs ")
    machine = found["machine"]
    assert found["tried"].endswith(
        f"60 s at most, 1 thread, LiteRT {machine['ai_edge_litert']}, {machine['cpu']}: "
        "no proof that it is harmless"
    )
    weights = {op["version"] for op in found["ops"] if op["name"] == "CONV_2D"}
    assert weights == {5}


def test_tables(written, capsys, monkeypatch):
    monkeypatch.setattr(file_summary, "LARGEST", 3)
    assert run(written.path) == 0
    output = capsys.readouterr().out
    assert re.search(r"^bytes +[\d,]+, [\d,]+ after gzip$", output, re.M)
    assert re.search(r"^multiply-accumulates +[\d,]+$", output, re.M)
    assert re.search(r"^oldest runtime +TensorFlow Lite 2\.17\.0, LiteRT 1\.0 ", output, re.M)
    assert re.search(r"^here +loads and runs$", output, re.M)
    assert re.search(r"^tried +run once on random inputs ", output, re.M)
    assert re.search(r"^CONV_2D +\d +\d +", output, re.M)
    assert re.search(r"^description +two lines$", output, re.M)
    assert re.search(r"^labels +class 0, class 1,", output, re.M)
    left = int(re.search(r"^and (\d+) smaller ones; --tensors", output, re.M)[1])
    assert run(written.path, "--tensors") == 0
    more = capsys.readouterr().out
    assert "smaller ones" not in more
    assert len(more.splitlines()) >= len(output.splitlines()) - 1 + left
    assert max(map(len, more.splitlines())) < 130


def test_issues_are_shown(written, tmp_path, capsys):
    path = tmp_path / "plain.tflite"
    export(small_net(), path)
    assert run(path) == 0
    output = capsys.readouterr().out
    assert re.search(r"^MediaPipe +its input is float32, and no metadata", output, re.M)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the path of one .tflite file; got 0"),
        (["a.tflite", "b.tflite"], "one .tflite file; got 2"),
        (["absent.tflite"], "absent.tflite: no such file"),
        ([__file__], "is not a .tflite file"),
        (["m.tflite", "--jsno"], "Unknown command line flag 'jsno'"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, message, capsys):
    assert run(*arguments) == 2
    assert_one_error_line(capsys.readouterr(), message)


def test_a_corrupt_file(written, tmp_path, capsys):
    path = tmp_path / "short.tflite"
    with open(written.path, "rb") as file:
        path.write_bytes(file.read()[:5000])
    assert run(path) == 2
    assert "short.tflite is cut short or corrupt" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert run("--help") == 0
    output = capsys.readouterr().out
    for word in ("m.tflite", "--json", "--tensors", "Exit status", "no\nproof"):
        assert word in output
    assert "no harm" not in output


def test_as_a_module_without_keras(written):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['inspect', sys.argv[1], '--json']\n"
        "try:\n    runpy.run_module('tfcompress.inspect', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'keras', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, written.path], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["path"] == written.path


def test_against_the_float_model(written, tmp_path, capsys):
    """Its ops by their outputs' noise; the first layer of a file with 8-bit weights has some."""
    small_net().save(tmp_path / "m.keras")
    x = np.random.default_rng(0).standard_normal((3, 15, 15, 3)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    flags = (f"--against={tmp_path / 'm.keras'}", f"--inputs={tmp_path / 'x.npy'}", "--json")
    assert run(written.path, *flags) == 0
    found = json.loads(capsys.readouterr().out)["activations"]
    assert (found["examples"], found["unmatched"]) == (3, [])
    ops = [error["op"] for error in found["errors"]]
    assert ops.count("CONV_2D") == 2
    assert "FULLY_CONNECTED" in ops
    assert all(20 < error["sqnr_db"] < 80 for error in found["errors"])


def test_the_text_names_the_worst_three():
    errors = [
        ActivationError(f"net/layer_{n};net/more", "CONV_2D", (1, 4), "name", figure)
        for n, figure in enumerate((3.21, 10.0, 20.0, 30.0, None))
    ]
    text = inspect.activations_text(
        ActivationErrors(tuple(errors), ("net/gone;x",), 16), "float.tflite", None
    )
    assert "Against float.tflite, 16 inputs (drawn" in text
    worst = ", ".join(
        f"net/layer_{n} (CONV_2D, {figure} dB)" for n, figure in enumerate((3.2, "10.0", "20.0"))
    )
    assert f"Furthest off: {worst}.\n" in text
    assert re.search(r"^CONV_2D +net/layer_4 +no noise +name", text, re.M)
    assert text.endswith("doesn't hold them or they are zero: net/gone.")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--inputs=x.npy"], "--inputs is for the comparison: give --against, too"),
        (["--against=absent.tflite"], "absent.tflite: no such file"),
        (["--against=absent.keras"], "absent.keras"),
        (["--against=float.tflite", "--inputs=absent.npy"], "--inputs: no file absent.npy"),
        (["--against=float.tflite", f"--inputs={__file__}"], "is no .npy or .npz file of numbers"),
    ],
)
def test_a_wrong_comparison_is_one_line_and_status_2(written, arguments, message, capsys):
    assert run(written.path, *arguments) == 2
    assert_one_error_line(capsys.readouterr(), message)
