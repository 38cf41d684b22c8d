import keras
import numpy as np
import pytest

from tfcompress import turns


@pytest.fixture(autouse=True)
def locks_of_its_own(monkeypatch, tmp_path_factory):
    """A search beside the tests neither waits for them nor keeps them waiting."""
    monkeypatch.setattr(turns, "user_cache", lambda: tmp_path_factory.getbasetemp() / "cache")


@pytest.fixture(scope="module")
def task():
    """A compiled net of three dense layers, and examples of two classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(160, 12)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            keras.layers.Dense(64, activation="relu", name="first"),
            keras.layers.Dense(64, activation="relu", name="second"),
            keras.layers.Dense(2, name="scores"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    return model, (x, y)
