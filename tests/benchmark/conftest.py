"""Tiny `.tflite` files, and the software GPU that Chromium brings."""

import ctypes
import os
import pathlib
import platform
import shutil
import subprocess

import pytest

from tests.benchmark.flat import Net
from tfcompress.benchmark import peak

SWIFTSHADER = pathlib.Path("/usr/lib/chromium/vk_swiftshader_icd.json")


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory) -> pathlib.Path:
    """A convolution and a dense layer."""
    net = Net()
    x = net.tensor((1, 8, 8, 3))
    path = tmp_path_factory.mktemp("tiny") / "tiny.tflite"
    return net.write(path, [x], [net.dense(net.conv(x, 4), 5)])


@pytest.fixture(autouse=True)
def short_peaks(monkeypatch):
    """No test looks at how high the machine's peak is."""
    monkeypatch.setattr(peak, "SECONDS", 0.01)


@pytest.fixture
def accelerator():
    """Skips where LiteRT's wheel has no GPU accelerator that the tests know."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("the tests know the Vulkan accelerator of Linux on x86-64")


@pytest.fixture
def no_gpu(accelerator, monkeypatch):
    """A machine without a driver for a GPU."""
    monkeypatch.setenv("VK_ICD_FILENAMES", "/nonexistent")


@pytest.fixture
def software_gpu(accelerator, monkeypatch):
    """Chromium's SwiftShader as the machine's only GPU."""
    if not SWIFTSHADER.is_file():
        pytest.skip("there is no SwiftShader; Debian's package chromium brings it")
    monkeypatch.setenv("VK_ICD_FILENAMES", str(SWIFTSHADER))
    try:
        ctypes.CDLL("libvulkan.so.1")
    except OSError:
        loaders = [str(SWIFTSHADER.parent), os.environ.get("LD_LIBRARY_PATH", "")]
        monkeypatch.setenv("LD_LIBRARY_PATH", ":".join(filter(None, loaders)))


@pytest.fixture(scope="session")
def stub_delegate(tmp_path_factory) -> str:
    """The path of a delegate that does what its options say; see stub_delegate.c."""
    compiler = shutil.which("cc")
    if compiler is None or os.name != "posix":
        pytest.skip("there is no C compiler")
    library = tmp_path_factory.mktemp("delegate") / "stub.so"
    source = pathlib.Path(__file__).with_name("stub_delegate.c")
    words = [compiler, "-shared", "-fPIC", "-o", str(library), str(source)]
    subprocess.run(words, check=True, capture_output=True)
    return str(library)
