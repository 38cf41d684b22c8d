"""What is printed of a written file."""

import dataclasses

from tfcompress.export import Exported
from tfcompress.export.verify import Parity

FILE = Exported(
    path="m.tflite",
    storage="int8",
    size_bytes=36_045,
    ops={"CONV_2D": 400},
    weight_bytes={"int8": 30_000},
    float_products=(),
    parity=Parity(30, 0.02, 4.0, 0.0123, 29 / 30),
    errors={f"layer_{number}": 0.01 for number in range(200)},
    layer_bytes={f"layer_{number}": 1000 for number in range(200)},
    min_runtime="TensorFlow Lite 2.11.0",
)


def test_a_few_lines():
    assert str(FILE) == repr(FILE)
    assert repr(FILE).splitlines() == [
        "m.tflite: int8, 35.2 KiB; outputs differ from Keras's by 0.012 of their rms (at most by "
        "0.02 of 4), labels agree on 96.7% of 30 images",
        "  runs on TensorFlow Lite 2.11.0 and newer",
    ]
    assert FILE.to_json()["errors"]["layer_7"] == 0.01


def test_what_its_user_should_know():
    file = dataclasses.replace(
        FILE,
        parity=None,
        kept={f"layer_{number}": "kept floats: ..." for number in range(6)},
        failed_check="the file differs",
        notes=("a note",),
        min_runtime="",
    )
    assert repr(file).splitlines() == [
        "m.tflite: int8, 35.2 KiB; not compared with Keras: there were no images",
        "  failed its check: the file differs",
        "  kept more bits: layer_0, layer_1, layer_2, layer_3 and 2 more",
        "  note: a note",
    ]


def test_a_runtime_without_a_version_has_no_newer_ones():
    kernels = dataclasses.replace(FILE, min_runtime="LiteRT with tfcompress's kernels")
    assert kernels.runs_on == "LiteRT with tfcompress's kernels"
    assert FILE.runs_on == "TensorFlow Lite 2.11.0 and newer"
