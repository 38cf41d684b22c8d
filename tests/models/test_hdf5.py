"""HDF5 files of strangers: what reads other files or claims too much is refused unread."""

import struct
import subprocess
import sys

import h5py
import numpy as np
import pytest

from tfcompress.bounded_json import MOST_BYTES
from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.models import hdf5, hdf5_walk
from tfcompress.runtime import process

# A few names that share one long text, in a file of a MB, would be 2 GB in memory.
SHARED_BYTES, SHARED = 2**20, 2000


@pytest.fixture
def path(tmp_path):
    """A file as Keras writes it, without Keras."""
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential"}'
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"d", b"empty"]
        weights.create_group("empty").attrs["weight_names"] = np.array([])
        layer = weights.create_group("d")
        layer.attrs["weight_names"] = [b"d/kernel:0", b"d/bias:0"]
        layer["d/kernel:0"] = np.ones((4, 3), np.float32)
        layer["d/bias:0"] = np.ones(3, np.float16)
        file["step"] = 3
    return path


def walk(path):
    with h5py.File(path, "r") as file:
        return hdf5_walk._Walk(file, path.stat().st_size).run()


def test_an_ordinary_file(path):
    assert hdf5.read_config(path, "m.h5") == walk(path) == '{"class_name": "Sequential"}'


def test_packed_weights(path):
    with h5py.File(path, "a") as file:
        file.create_dataset("packed", data=np.zeros((300, 300)), compression="gzip", shuffle=True)
        file.create_dataset("lzf", data=np.zeros((300, 300)), compression="lzf", fletcher32=True)
        file["complex"] = np.zeros(2, np.complex64)
        file["text"] = np.bytes_("fixed")
    assert walk(path)


def test_weights_alone(path):
    with h5py.File(path, "a") as file:
        del file.attrs["model_config"]
    assert hdf5.read_config(path, "m.h5") is None


def external(file):
    with open(file.filename + ".secret", "wb") as secret:
        secret.write(b"secret" * 8)
    file.create_dataset("other", (12,), "f4", external=[(file.filename + ".secret", 0, 48)])


def virtual(file):
    layout = h5py.VirtualLayout((12,), "f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "data", (12,))
    file.create_virtual_dataset("other", layout)


def soft(file):
    file["other"] = h5py.SoftLink("/model_weights/d")


def external_link(file):
    file["other"] = h5py.ExternalLink("elsewhere.h5", "/")


def cycle(file):
    file["model_weights/d/up"] = file["model_weights"]


def second_name(file):
    file["other"] = file["model_weights/d/d/kernel:0"]


def fill_value(file):
    file.create_dataset("other", (10**6, 10**6), "f4", chunks=(1000, 1000))


def packed_fill_value(file):
    file.create_dataset("other", (20_000, 20_000), "f4", chunks=(1000, 1000), compression="gzip")


def large_chunk(file):
    file.create_dataset("other", (1,), "f4", chunks=(10**8,), maxshape=(None,), compression="gzip")


def plugin(file):
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((4,))
    creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    h5py.h5d.create(
        file.id, b"other", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), dcpl=creation
    )


def texts(file):
    file["other"] = ["a", "b"]


def references(file):
    file["other"] = np.array([file["model_weights"].ref], h5py.ref_dtype)


def weight_twice(file):
    file["model_weights/d"].attrs["weight_names"] = [b"d/kernel:0", b"./d//kernel:0"]


def weight_of_another_layer(file):
    file["model_weights/empty"].attrs["weight_names0"] = [b"/model_weights/d/d/kernel:0"]


def layer_twice(file):
    file["model_weights"].attrs["layer_names"] = [b"d"] * 100


def long_config(file):
    file.attrs["model_config"] = " " * (MOST_BYTES + 1)


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (external, r"the values of '/other' are in another file \(external storage\)"),
        (virtual, r"the values of '/other' are in other arrays \(virtual storage\)"),
        (soft, "'/other' is a link, which Keras never writes"),
        (external_link, "'/other' is a link, which Keras never writes"),
        (cycle, "'/model_weights/d/up' is a second name of something else in it"),
        (second_name, "is a second name of something else in it"),
        (fill_value, "'/other' claims 4000000000000 bytes and has 0"),
        (packed_fill_value, r"claim 16\d{8} bytes, more than a file of \d+ bytes may"),
        (large_chunk, r"claim 4\d{8} bytes, more than a file of \d+ bytes may"),
        (plugin, "'/other' is packed by filter 32015, which isn't known"),
        (texts, "'/other' holds other things than numbers of one size"),
        (references, "'/other' holds other things than numbers of one size"),
        (weight_twice, "the weight_names of '/model_weights/d' name '.*/kernel:0' twice"),
        (weight_of_another_layer, "name '/model_weights/d/d/kernel:0' twice"),
        (layer_twice, "the layer_names of '/model_weights' name '/model_weights/d' twice"),
        (long_config, "its model_config has more than 8388608 characters"),
    ],
)
def test_what_could_do_harm(path, attack, message):
    with h5py.File(path, "a") as file:
        attack(file)
    with pytest.raises(ValueError, match=message) as caught:
        walk(path)
    assert "\n" not in str(caught.value)


def test_too_many_objects(path, monkeypatch):
    monkeypatch.setattr(hdf5_walk, "MOST_OBJECTS", 5)
    with pytest.raises(ValueError, match="has more than 5 groups, arrays and attributes"):
        walk(path)


def share_one_text(path):
    """Writes a list of layer names all of which are one text, as HDF5 itself wouldn't."""
    with h5py.File(path, "a") as file:
        names = file["model_weights"].attrs
        del names["layer_names"]
        names["layer_names"] = [b"a" * SHARED_BYTES] + [b"b"] * (SHARED - 1)
    content = path.read_bytes()
    # The list holds the length, the place and the number of each text.
    length = struct.pack("<I", SHARED_BYTES)
    start = content.index(length)
    while content[start + 16 : start + 20] != struct.pack("<I", 1):
        start = content.index(length, start + 1)
    first = content[start : start + 16]
    path.write_bytes(content[:start] + first * SHARED + content[start + 16 * SHARED :])


@pytest.mark.parametrize("attack", ["share_one_text", "packed_fill_value"])
def test_the_memory_of_a_look(path, attack):
    if attack == "share_one_text":
        share_one_text(path)
    else:
        with h5py.File(path, "a") as file:
            packed_fill_value(file)
    assert path.stat().st_size < 2 * 2**20
    code = (
        "import resource, sys\n"
        "from tfcompress.models import hdf5\n"
        "try:\n    hdf5.read_config(sys.argv[1], 'm.h5')\n"
        "except Exception as error:\n    print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, timeout=120, check=True
    )
    message, megabytes = done.stdout.splitlines()
    assert message.startswith("m.h5 isn't loaded: its ")
    assert int(megabytes) < 512


def test_a_file_that_crashes_the_library(path, monkeypatch):
    crash = [sys.executable, "-c", "import os; os.kill(os.getpid(), 11)"]
    monkeypatch.setattr(process, "command", lambda module: crash)
    with pytest.raises(UnsafeFileError, match=r"made to do harm: .* was killed by SIGSEGV"):
        hdf5.read_config(path, "m.h5")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_is_cut_short(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match=r"m.h5 is cut short or damaged \(") as caught:
        hdf5.read_config(path, "m.h5")
    assert not isinstance(caught.value, UnsafeFileError)
