"""`.keras` files of strangers: what is unpacked elsewhere or without end isn't unpacked."""

import io
import json
import stat
import zipfile

import h5py
import keras
import pytest

from tests.models.strangers import small_model
from tfcompress.bounded_json import MOST_BYTES
from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.models import keras_zip, saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The members of a small model's file."""
    path = tmp_path_factory.mktemp("whole") / "m.keras"
    small_model().save(path)
    with zipfile.ZipFile(path) as members:
        return {name: members.read(name) for name in members.namelist()}


def write(path, members, extra=(), packing=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", packing) as new:
        for name, content in (*members.items(), *extra):
            new.writestr(name, content)
    return str(path)


def linked(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def weights_with(whole, attack):
    content = io.BytesIO(whole["model.weights.h5"])
    with h5py.File(content, "r+") as file:
        attack(file["layers/dense/vars"])
    return content.getvalue()


def external(variables):
    del variables["0"]
    variables.create_dataset("0", (4, 3), "f4", external=[("/etc/passwd", 0, 48)])


def fill_value(variables):
    variables.create_dataset("9", (40_000, 40_000), "f4", chunks=(1000, 1000), compression="gzip")


def test_packed_and_with_other_files(whole, tmp_path):
    extra = [(f"assets/{number}.txt", "word") for number in range(3)]
    assert isinstance(saved.load(write(tmp_path / "m.keras", whole, extra)), keras.Model)


@pytest.mark.parametrize(
    "name", ["../up", "/etc/x", "assets/../../up", "C:\\x", "..\\up", linked("assets/link")]
)
def test_names_outside(whole, tmp_path, name):
    path = write(tmp_path / "m.keras", whole, [(name, "/etc/passwd")])
    with pytest.raises(UnsafeFileError, match="which would be unpacked elsewhere"):
        saved.load(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.keras"]


@pytest.mark.parametrize("name", ["config.json", "model.weights.h5", "assets/a.txt"])
def test_bombs(whole, tmp_path, name):
    # 300 MB of zeros take 0.3 MB.
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for other in whole.keys() - {name}:
            new.writestr(other, whole[other])
        with new.open(name, "w") as member:
            for _ in range(300):
                member.write(bytes(2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(UnsafeFileError, match=r"its \d{6} bytes claim to unpack to 3\d{8}"):
        saved.load(str(path))


def test_a_long_configuration(whole, tmp_path):
    config = b" " * (MOST_BYTES + 1)
    path = write(tmp_path / "m.keras", {**whole, "config.json": config})
    with pytest.raises(UnsafeFileError, match=r"its config\.json has more than 8388608 bytes"):
        saved.load(path)


@pytest.mark.parametrize("config", ["[" * 100_000, "{", '{"a": "\xff"}'.encode("latin-1"), "[1]"])
def test_configurations_that_cant_be_read(whole, tmp_path, config):
    path = write(tmp_path / "m.keras", {**whole, "config.json": config})
    with pytest.raises(InputError, match=r"m.keras (is damaged|can't be loaded)") as caught:
        saved.load(path)
    assert "\n" not in str(caught.value)


def test_other_packings_and_weights(whole, tmp_path):
    path = write(tmp_path / "m.keras", whole, packing=zipfile.ZIP_LZMA)
    with pytest.raises(UnsafeFileError, match="is packed in a way that Keras doesn't use"):
        saved.load(path)
    path = write(tmp_path / "m.keras", {**whole, "model.weights.npz": b""})
    with pytest.raises(UnsafeFileError, match=r"its weights are in model.weights.npz"):
        saved.load(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name(whole, tmp_path):
    path = write(tmp_path / "m.keras", whole, [("config.json", json.dumps({}))])
    with pytest.raises(UnsafeFileError, match="it holds two files of one name"):
        saved.load(path)


def test_too_many_files(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(keras_zip, "_MOST_MEMBERS", 2)
    with pytest.raises(UnsafeFileError, match="it holds more than 2 files"):
        saved.load(write(tmp_path / "m.keras", whole))


@pytest.mark.parametrize(
    ("attack", "message"), [(external, "are in another file"), (fill_value, "claim 64")]
)
def test_weights_that_could_do_harm(whole, tmp_path, attack, message):
    weights = weights_with(whole, attack)
    path = write(tmp_path / "m.keras", {**whole, "model.weights.h5": weights})
    with pytest.raises(UnsafeFileError, match=rf"m.keras \(model.weights.h5\).*{message}"):
        saved.load(path)


@pytest.mark.parametrize("member", ["config.json", "model.weights.h5"])
def test_members_that_are_missing(whole, tmp_path, member):
    path = write(tmp_path / "m.keras", {name: whole[name] for name in whole if name != member})
    with pytest.raises(InputError, match=r"m\.keras (holds no model|can't be loaded)"):
        saved.load(path)
