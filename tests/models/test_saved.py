"""The user's own model files: those that can't be read say why, in one line."""

import os

import h5py
import keras
import numpy as np
import pytest

from tests.test_run import error_of
from tfcompress.errors import InputError, UnsafeFileError
from tfcompress.models import saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a small model by the ending of its file."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(300)])
    for ending in (".keras", ".h5"):
        model.save(folder / f"m{ending}")
    return {ending: (folder / f"m{ending}").read_bytes() for ending in (".keras", ".h5")}


def bad_file(folder, ending, content):
    path = folder / f"bad{ending}"
    path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_file_that_is_cut_short(whole, tmp_path, ending, share):
    content = whole[ending]
    name = bad_file(tmp_path, ending, content[: int(share * len(content))])
    with pytest.raises(InputError, match=rf"bad{ending} is cut short or damaged.*; get or save"):
        saved.load(name)


def test_a_file_with_other_bytes(whole, tmp_path):
    content = bytearray(whole[".keras"])
    content[len(content) // 2] ^= 255
    name = bad_file(tmp_path, ".keras", content)
    with pytest.raises(InputError, match=r"is cut short or damaged .*CRC.*; get or save it again"):
        saved.load(name)


def test_the_command_says_so_at_once(whole, tmp_path, capsys):
    name = bad_file(tmp_path, ".keras", whole[".keras"][:-1])
    assert f"{name} is cut short or damaged; get" in error_of(capsys, f"--model={name}")


def test_a_refused_file_isnt_given_to_the_older_loader(tmp_path, capsys, monkeypatch):
    """tf_keras would read the values of another file into the weights."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    path = tmp_path / "m.h5"
    model.save(path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret" * 8)
    with h5py.File(path, "r+") as file:
        (name,) = [name for name in _arrays(file) if name.endswith("kernel")]
        del file[name]
        file.create_dataset(name, (4, 3), "f4", external=[(str(secret), 0, 48)])
    monkeypatch.setattr("tfcompress.bridge.load_h5", lambda *_: pytest.fail("was tried"))
    message = error_of(capsys, f"--model={path}", f"--output_dir={tmp_path / 'out'}")
    assert "m.h5 isn't loaded: the values of" in message
    assert "are in another file (external storage)" in message
    with pytest.raises(UnsafeFileError, match="external storage"):
        saved.load(path)


def _arrays(file):
    names = []
    file.visit(names.append)
    return [name for name in names if isinstance(file[name], h5py.Dataset)]


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_pipe_isnt_waited_for(tmp_path, ending):
    os.mkfifo(tmp_path / f"m{ending}")
    with pytest.raises(InputError, match=rf"m{ending} is no file; give one that ends in .keras"):
        saved.load(str(tmp_path / f"m{ending}"))


def test_a_file_of_keras_3_isnt_given_to_the_older_loader(whole, tmp_path, monkeypatch):
    monkeypatch.setattr("tfcompress.bridge.load_h5", lambda *_: pytest.fail("was tried"))
    path = tmp_path / "m.h5"
    path.write_bytes(whole[".h5"])
    with h5py.File(path, "r+") as file:
        config = file.attrs["model_config"].replace('"class_name": "Dense"', '"class_name": "Own"')
        file.attrs["model_config"] = config
    with pytest.raises(InputError, match=r"m.h5 can't be loaded as a Keras 3 model: .*'Own'"):
        saved.load(path)


def test_an_h5_file_is_compiled_as_it_was_saved(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.3, momentum=0.8), loss, metrics=["accuracy"])
    path = tmp_path / "m.h5"
    model.save(path)
    loaded = saved.load(path)
    assert not loaded.compiled
    assert saved.compile_as_saved(loaded, path) is None
    assert loaded.loss.get_config() == loss.get_config()
    assert (float(loaded.optimizer.learning_rate), loaded.optimizer.momentum) == (
        pytest.approx(0.3),
        0.8,
    )
    x, y = np.ones((2, 4)), np.arange(2)
    assert loaded.evaluate(x, y, verbose=0) == model.evaluate(x, y, verbose=0)


def test_an_h5_file_whose_loss_isnt_known(whole, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(whole[".h5"])
    model = saved.load(path)
    assert saved.compile_as_saved(model, path) is None  # Nothing is said of it.
    with h5py.File(path, "r+") as file:
        file.attrs["training_config"] = '{"loss": {"class_name": "Lambda", "config": {}}}'
    assert "holds code" in saved.compile_as_saved(model, path)
    assert not model.compiled


def test_a_path_object_is_taken(whole, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(whole[".keras"])
    assert saved.load(path).count_params() == saved.load(str(path)).count_params()
