import base64
import gzip
import json
import re
import shutil

import numpy as np
import pytest

from tests.benchmark.flat import Net
from tfcompress.benchmark.matmul import matmul_file
from tfcompress.errors import InputError
from tfcompress.runtime import LiteModel
from tfcompress.webbench import make_page


def element(text, name):
    """The content of a script element."""
    return re.search(rf'<script [^>]*id="{name}">(.*?)</script>', text, re.S)[1]


def test_a_page_holds_all_that_it_needs(npm, small_file, tmp_path):
    odd = shutil.copy(small_file, tmp_path / "a<!--b>.tflite")
    text = make_page([small_file, odd], runs=7, min_seconds=0.5)
    assert re.findall(r"(?:src|href)=\"(?!data:)", text) == []
    assert "@" not in re.sub(r"@litertjs/[\w-]+", "", text.partition("<script")[0])
    assert "<!--" not in text
    data = json.loads(element(text, "data"))
    assert (data["runs"], data["min_seconds"]) == (7, 0.5)
    # A phone's GPU computes in half precision.
    assert (data["tolerance"], data["integer_tolerance"]) == (0.02, 0.1)
    assert [file["name"] for file in data["files"]] == ["small.tflite", "a<!--b>.tflite"]
    file = data["files"][0]
    assert gzip.decompress(base64.b64decode(file["gzip"])) == small_file.read_bytes()
    # The output is that of the input.
    arrays = [
        np.frombuffer(base64.b64decode(file[key]["data"]), np.float32).reshape(file[key]["shape"])
        for key in ("input", "output")
    ]
    np.testing.assert_allclose(LiteModel(small_file).predict(arrays[0]), arrays[1], atol=1e-5)
    assert gzip.decompress(base64.b64decode(element(text, "wasm"))) == b"\0asm"
    assert gzip.decompress(base64.b64decode(element(text, "loader"))) == b"// loader"
    imports = json.loads(re.search(r'"importmap">(.*?)</script>', text)[1])["imports"]
    assert {name: base64.b64decode(url.partition(",")[2]) for name, url in imports.items()} == {
        "@litertjs/core": b"// core",
        "@litertjs/wasm-utils": b"// utils",
    }


def test_compatible(npm, small_file):
    text = make_page([small_file], compatible=True)
    assert gzip.decompress(base64.b64decode(element(text, "wasm"))) == b"\0asm compatible"


def test_what_litertjs_can_not_take(npm, small_file, tmp_path):
    integer = tmp_path / "int8.tflite"
    integer.write_bytes(matmul_file("int8", 8))
    with pytest.raises(InputError, match=r"int8\.tflite has int8 at its edge; LiteRT\.js takes"):
        make_page([integer])
    # Beside others it has a row that says so.
    data = json.loads(element(make_page([small_file, integer]), "data"))
    assert data["files"][1] == {
        "name": "int8.tflite",
        "refused": "it has int8 at its edge; LiteRT.js takes float32, int32, uint8",
    }
    net = Net()
    x = net.tensor((1, 4))
    two = [net.op("NEG", [x], (1, 4)), net.op("RELU", [x], (1, 4))]
    with pytest.raises(InputError, match="has 1 inputs and 2 outputs"):
        make_page([net.write(tmp_path / "two.tflite", [x], two)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": []}, "at least one .tflite file"),
        ({"runs": 0}, "runs must be 1 or more"),
        ({"min_seconds": -1}, "min_seconds must be 0 or more"),
    ],
)
def test_bad_arguments(npm, small_file, arguments, message):
    with pytest.raises(InputError, match=message):
        make_page(**{"paths": [small_file], **arguments})
    assert npm == []
