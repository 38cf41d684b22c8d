"""What stands in a file, of files whose every number is known."""

import gzip
import re

import numpy as np
import pytest

from tests.benchmark.flat import Net, chain
from tfcompress.benchmark.file_summary import LARGEST, describe, summarize, summary_text


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Ten dense layers of 1 to 10 units, whose weights become larger and larger."""
    net = Net()
    x = net.tensor((1, 4))
    ys = [net.dense(x, units) for units in range(1, 11)]
    return net.write(tmp_path_factory.mktemp("summary") / "m.tflite", [x], ys)


def test_numbers(path):
    summary = describe(path, None)
    content = path.read_bytes()
    assert summary["size_bytes"] == len(content)
    assert summary["gzip_bytes"] == len(gzip.compress(content, 9, mtime=0))
    assert summary["macs"] == 4 * sum(range(1, 11))
    assert summary["weight_bytes"] == {"float32": 16 * sum(range(1, 11))}
    assert [constant["size_bytes"] for constant in summary["constants"]] == [
        16 * units for units in range(10, 0, -1)
    ]
    assert summary["constants"][0]["shape"] == [10, 4]
    (op,) = summary["ops"]
    assert (op["name"], op["count"], op["types"]) == ("FULLY_CONNECTED", 10, "float32 float32 -")
    assert (summary["runs_here"], summary["runtime_said"]) == (True, None)


def lines_with(text, word):
    return [line.split() for line in text.splitlines() if word in line.split()]


def test_the_largest_constants_are_shown(path):
    text = summary_text(describe(path, None))
    rows = [line for line in lines_with(text, "float32") if re.fullmatch(r"t\d+", line[0])]
    shown = [line[2] for line in rows]
    assert shown == [f"{units}x4" for units in range(10, 10 - LARGEST, -1)]
    assert "and 2 smaller ones; --tensors shows them" in text
    whole = summary_text(describe(path, None), all_constants=True)
    rows = [line for line in lines_with(whole, "float32") if re.fullmatch(r"t\d+", line[0])]
    assert len(rows) == 10


def test_a_file_that_does_not_run_here(tmp_path):
    """ADD of one input: the runtime refuses it."""
    summary = summarize(chain(tmp_path / "m.tflite", "ADD"))
    assert not summary["runs_here"]
    assert summary["runtime_said"].startswith("RuntimeError: ")
    (line,) = (line for line in summary_text(summary).splitlines() if line.startswith("here "))
    assert "RuntimeError" in line


def test_long_metadata_are_cut(path):
    labels = [f"class{number}" for number in range(30)]
    metadata = {"labels": labels, "mean": [1.5], "std": [0.0625]}
    text = summary_text({**describe(path, None), "metadata": metadata})
    words = " ".join(text.split())
    assert "class18, class19, and 10 more" in words
    assert "class20" not in words
    assert "mean 1.5" in words
    assert "std 0.0625" in words


def test_floats_outside_and_8_bit_weights_inside_are_called_what_they_are(tmp_path):
    """As in a "float32" file that a converter was told to optimise."""
    net = Net()
    x = net.tensor((1, 8))
    weights = net.tensor((3, 8), "int8", values=np.ones((3, 8)))
    ys = [net.dense(x, 3), net.dense(x, 3)]
    ys.append(net.op("FULLY_CONNECTED", [x, weights, -1], (1, 3)))
    halves = net.tensor((3, 8), "float16", values=np.ones((3, 8)))
    kernel = net.op("DEQUANTIZE", [halves], (3, 8))
    ys.append(net.op("FULLY_CONNECTED", [x, kernel, -1], (1, 3)))
    q = net.tensor((1, 8), "int8")
    ys.append(net.op("FULLY_CONNECTED", [q, weights, -1], (1, 3), "int8"))
    summary = describe(net.write(tmp_path / "m.tflite", [x, q], ys), None)
    words = " ".join(summary_text(summary).split())
    assert "computes by float computation with float32 weights: 2 ops; float" in words
    assert [(kind["ops"], kind["text"]) for kind in summary["arithmetic"]] == [
        (2, "float computation with float32 weights"),
        (1, "float computation with int8 weights (dynamic range)"),
        (1, "float computation with weights that are unpacked once from float16"),
        (1, "integer computation with int8 weights"),
    ]


def test_what_a_gpu_gets_wrong_is_an_issue(tmp_path):
    net = Net()
    x = net.tensor((1, 8), "int16")
    path = net.write(tmp_path / "m.tflite", [x], [net.op("NEG", [x], (1, 8), "int16")])
    issues = describe(path, "RuntimeError: no")["issues"]
    assert {"who": "GPU", "text": "int16 activations don't run on the GPU"} in issues


def test_odd_numbers_of_a_summary(path):
    summary = describe(path, None)
    summary |= {"macs": None, "uncounted_ops": ["WHILE", "IF"], "weight_bytes": {}}
    summary["oldest_runtime"] |= {"unknown": ["CUSTOM:X"]}
    words = " ".join(summary_text(summary).split())
    assert "multiply-accumulates unknown: WHILE, IF can't be counted" in words
    assert "weights no bytes" in words
    assert "oldest runtime at least TensorFlow Lite" in words
    assert "unknown: CUSTOM:X" in words
