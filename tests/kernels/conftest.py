"""Skips, with a word, where the kernels can't be built."""

import shutil

import pytest

from tests.kernels.float_files import Net
from tests.kernels.test_xnor_ops import chain, rewritten
from tfcompress import kernels
from tfcompress.errors import InputError
from tfcompress.kernels import cross
from tfcompress.tflite import join


def built() -> tuple[str, ...]:
    """The kernels that run here; none where there is no compiler."""
    try:
        return kernels.names()
    except kernels.BuildError:
        return ()


@pytest.fixture(scope="session", params=built() or ("none",))
def kernel(request):
    """The name of each kernel that runs here."""
    if request.param == "none":
        pytest.skip("no C compiler here, or it failed: the 1-bit kernels aren't built")
    return request.param


@pytest.fixture(scope="session")
def fastest():
    """The kernel that is used unless one is named."""
    if not built():
        pytest.skip("no C compiler here, or it failed: the 1-bit kernels aren't built")
    return built()[0]


@pytest.fixture(scope="session")
def compiler():
    """A C compiler's command."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if not found:
        pytest.skip("no C compiler here")
    return found


@pytest.fixture(scope="session")
def zig():
    """The command of a compiler for other systems."""
    try:
        return cross.zig()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture
def joined(tmp_path):
    """A float file, its bits, and one file of both."""
    net = Net(0, (1, 11, 9, 20))
    outputs, _ = chain(net)
    first, second = tmp_path / "float.tflite", tmp_path / "xnor.tflite"
    first.write_bytes(net.done(*outputs))
    rewritten(first.read_bytes(), second)
    path = tmp_path / "both.tflite"
    join.join_signatures(first, second, path, "xnor")
    return first, second, path
