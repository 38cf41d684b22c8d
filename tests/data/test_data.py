import subprocess
import sys

import pytest

from tfcompress import data
from tfcompress.data.sources.folder import FolderOptions
from tfcompress.data.sources.rafd import RafdOptions
from tfcompress.errors import InputError
from tfcompress.options import typed_options


def test_importing_the_room_imports_nothing_heavy():
    code = (
        "import sys, tfcompress.data; tfcompress.data.names(); "
        "tfcompress.data.check_name('fashion_mnist_small'); "
        "print([m for m in ('numpy', 'PIL', 'tensorflow', 'keras') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_only_tfds_names_need_tensorflow():
    code = (
        "import sys, tfcompress.data; tfcompress.data.load('fashion_mnist_small'); "
        "print([m for m in ('tensorflow', 'tensorflow_datasets', 'keras') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "a data set's name is needed"),
        ("folder:", "lacks its path: folder:PATH"),
        ("rafd", "lacks its path: rafd:PATH"),
        ("foldr:/tmp", "unknown data set scheme 'foldr': did you mean 'folder'"),
        ("folder:/no/such/place", "there is no folder '/no/such/place'"),
        ("rafd:/no/such/place", "there is no folder '/no/such/place'"),
        ("fer2013:/no/such.csv", "there is no file '/no/such.csv'"),
    ],
)
def test_names_that_cannot_be(name, message):
    with pytest.raises(InputError, match=message):
        data.check_name(name)
    with pytest.raises(InputError, match=message):
        data.load(name)


def test_arguments_of_another_type():
    with pytest.raises(InputError, match=r"name is a text, or give arrays to .*; got 3"):
        data.load(3)
    with pytest.raises(InputError, match=r"image_size takes a whole number; got '32' \(str\)"):
        data.load("fashion_mnist_small", image_size="32")


def test_names_that_may_be(tmp_path):
    data.check_name("fashion_mnist_small")
    data.check_name(f"folder:{tmp_path}")
    assert "fashion_mnist_small" in data.names()


def test_options_types_and_their_texts():
    assert data.options_type("folder:x") is FolderOptions
    assert data.options_type("rafd:x") is RafdOptions
    assert data.options_type("fashion_mnist_small") is None
    assert data.options_type("fer2013:x") is None
    assert data.options_type("mnist:3.0.1") is None
    texts = {"angles": "090,045", "test_fraction": "0.5", "split_seed": "3"}
    assert typed_options(RafdOptions, texts) == {
        "angles": ("090", "045"),
        "test_fraction": 0.5,
        "split_seed": 3,
    }


def test_unknown_options():
    with pytest.raises(InputError, match="'speed': Known: none"):
        data.load("fashion_mnist_small", options={"speed": 1})
    with pytest.raises(InputError, match="did you mean 'test_fraction'"):
        data.load("folder:.", options={"test_fractoin": 0.5})
    with pytest.raises(InputError, match=r"test_fraction must be in \(0, 1\); got 2"):
        data.load("folder:.", options={"test_fraction": 2})


def test_lazy_names():
    assert data.Dataset.__name__ == "Dataset"
    assert callable(data.from_arrays)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = data.nothing
