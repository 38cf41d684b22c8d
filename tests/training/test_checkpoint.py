import json
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest

from tfcompress.errors import InputError
from tfcompress.training import checkpoint

ROWS = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]


def variables(seed=0, shapes=((3, 2), (2,), ())):
    rng = np.random.default_rng(seed)
    made = [keras.Variable(rng.normal(size=shape).astype("float32")) for shape in shapes]
    return [*made, keras.Variable(np.int64([seed, 7]), dtype="int64", trainable=False)]


def values(of):
    return [keras.ops.convert_to_numpy(v).copy() for v in of]


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(values(a), values(b), strict=True))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "state.npz"
    checkpoint.save(path, variables(1), ROWS)
    return path


def test_round_trip_is_exact(saved):
    new = variables(2)
    assert not same(new, variables(1))
    assert checkpoint.load(saved, new, epochs=2) == ROWS
    assert same(new, variables(1))


def test_saving_again_replaces_and_leaves_no_other_file(saved):
    checkpoint.save(saved, variables(3), ROWS[:1])
    new = variables(2)
    assert checkpoint.load(saved, new, epochs=2) == ROWS[:1]
    assert same(new, variables(3))
    assert [path.name for path in saved.parent.iterdir()] == ["state.npz"]


def refused(path, message, new=None, epochs=2):
    new = new or variables(2)
    before = values(new)
    with pytest.raises(InputError, match=message) as caught:
        checkpoint.load(path, new, epochs=epochs)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    for old, now in zip(before, values(new), strict=True):
        np.testing.assert_array_equal(old, now)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 0.99])
def test_truncated(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    refused(saved, "is damaged: remove it")


def test_flipped_bytes_in_an_array(saved):
    content = bytearray(saved.read_bytes())
    at = content.index(np.float32(values(variables(1))[0]).tobytes())
    content[at] ^= 0xFF
    saved.write_bytes(content)
    refused(saved, "is damaged")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04" + bytes(50)])
def test_garbage(tmp_path, content):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    refused(path, "is damaged")


class Dangerous:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("where", ["rows", "v0"])
def test_no_pickle_is_loaded(tmp_path, where):
    proof = tmp_path / "ran"
    arrays = {f"v{i}": value for i, value in enumerate(values(variables(1)))}
    arrays["rows"] = np.array(json.dumps(ROWS))
    arrays[where] = np.array([Dangerous(proof)], dtype=object)
    path = tmp_path / "state.npz"
    np.savez(path, **arrays)
    refused(path, "is damaged")
    assert not proof.exists()


@pytest.mark.parametrize("rows", ["5", '"text"', "[1, 2]", "{", "null"])
def test_history_of_another_form(tmp_path, rows):
    arrays = {f"v{i}": value for i, value in enumerate(values(variables(1)))}
    path = tmp_path / "state.npz"
    np.savez(path, rows=np.array(rows), **arrays)
    refused(path, "is damaged")


@pytest.mark.parametrize(
    "shapes", [((2, 3), (2,), ()), ((3, 2), (2,)), ((3, 2), (2,), (), ()), ((3, 2), (2,), (1,))]
)
def test_another_model(saved, shapes):
    refused(saved, "is of another model", variables(2, shapes))


def test_another_type(saved):
    new = variables(2)
    new[1] = keras.Variable(np.zeros(2, "int32"), dtype="int32", trainable=False)
    refused(saved, "is of another model", new)


def test_more_epochs_than_wanted(saved):
    refused(saved, "holds 2 epochs, more than the 1 wanted", epochs=1)


@pytest.mark.parametrize(
    "row",
    [
        {"loss": 0.5},
        {"epoch": 2, "loss": 0.5},
        {"epoch": 1},
        {"epoch": 1, "loss": "0.5"},
        {"epoch": 1, "loss": None},
        {"epoch": 1, "loss": float("nan")},
        {"epoch": 1, "loss": 1e300},
        {"epoch": True, "loss": 0.5},
    ],
)
def test_a_row_of_the_history_that_no_training_wrote(tmp_path, row):
    path = tmp_path / "state.npz"
    checkpoint.save(path, variables(1), [row])
    with pytest.raises(InputError, match="is damaged"):
        checkpoint.load(path, variables(2), epochs=2, keys=("epoch", "loss"))


@pytest.mark.parametrize("other", [np.savez, np.savez_compressed])
def test_a_small_file_of_much_memory(tmp_path, other):
    arrays = {f"v{i}": value for i, value in enumerate(values(variables(1)))}
    arrays["v0"] = np.zeros(1 << 24, "uint8")
    path = tmp_path / "state.npz"
    other(path, rows=np.array(json.dumps(ROWS)), **arrays)
    tracemalloc.start()
    refused(path, "is damaged" if path.stat().st_size < 1 << 20 else "is of another model")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20


def test_a_history_whose_header_claims_more_than_there_is(tmp_path):
    path = tmp_path / "state.npz"
    checkpoint.save(path, variables(1), [])
    size = len(json.dumps([]))
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["rows.npy"] = members["rows.npy"].replace(f"'<U{size}', ".encode(), b"'<U400000000',")
    assert b"<U400000000" in members["rows.npy"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    tracemalloc.start()
    refused(path, "is damaged")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
