import subprocess
import sys


def test_starts_without_keras_and_tensorflow():
    heavy = "['keras', 'tensorflow', 'tf_keras', 'matplotlib', 'jax']"
    code = (
        "import sys, tfcompress.runtime, tfcompress.benchmark, tfcompress.benchmark.__main__\n"
        "import tfcompress.webbench.__main__\n"
        "import tfcompress.report\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_reading_and_running_a_file_needs_neither(tiny):
    code = (
        "import sys, numpy as np\n"
        "from tfcompress.runtime import LiteModel\n"
        "from tfcompress.tflite.content import read\n"
        "assert read(sys.argv[1]).macs > 0\n"
        "LiteModel(sys.argv[1]).predict(np.zeros((1, 8, 8, 3), np.float32))\n"
        "print([name for name in ('keras', 'tensorflow') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny.path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_classifying_an_image_needs_neither(tiny, tmp_path):
    from PIL import Image

    from tfcompress.runtime import Metadata
    from tfcompress.tflite import metadata_writer

    path, image = tmp_path / "m.tflite", tmp_path / "image.png"
    path.write_bytes(tiny.path.read_bytes())
    metadata_writer.write_metadata(path, Metadata(mean=(1.0,), std=(1.0,)))
    Image.new("RGB", (30, 20)).save(image)
    code = (
        "import sys, tfcompress\n"
        "print(len(tfcompress.load(sys.argv[1])(sys.argv[2])))\n"
        "print([name for name in ('keras', 'tensorflow', 'tf_keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(image)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n")[:2] == ["5", "[]"]
