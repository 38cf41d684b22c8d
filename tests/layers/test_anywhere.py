"""A stranger's use of each layer: in any model, in mixed precision, from a file elsewhere."""

import dataclasses
import importlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfcompress
from tests import checks
from tests.layers.compact import draw
from tfcompress import layers

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="one backend is enough for loading files"
)

# Arguments of each public layer, and the shape of an input: of the layer's own test.
CASES = {
    name: importlib.import_module(
        f"tests.layers.test_{getattr(layers, name).__module__.rpartition('.')[2]}"
    ).ANYWHERE
    for name in layers.__all__
}
POLICIES = ("float32", "mixed_float16")
each = pytest.mark.parametrize("name", layers.__all__)

# Nothing but Keras, and then the import of tfcompress behind it.
LOADING = """
import json, sys
import keras
import numpy as np

def load(path, end, loaded):
    model = keras.saving.load_model(path + end)
    outputs = model(np.load(path + ".npy"), training=False)
    np.save(path + loaded, keras.ops.convert_to_numpy(outputs))
    return model

kinds = json.load(open(sys.argv[1]))
for path in kinds:
    if path.endswith("_float32"):
        load(path, "_built_in.keras", "_built_in.npy")
try:
    load(path, ".keras", "_loaded.npy")
except TypeError as error:
    assert "Could not locate class" in str(error), error
assert "tfcompress" not in sys.modules
import tfcompress
for path, kind in kinds.items():
    model = load(path, ".keras", "_loaded.npy")
    assert type(model.get_layer("mine")).__name__ == kind
"""


@dataclasses.dataclass(frozen=True)
class Saved:
    kind: str  # Of the layer called "mine".
    dtype: str
    here: np.ndarray
    loaded: np.ndarray
    built_in: np.ndarray | None  # The outputs of a file of built-in layers; of float32 alone.


def made(name, called="mine"):
    """A layer called "mine" that is one of ours, or a stock one that has one of ours."""
    arguments, _ = CASES[name]
    if callable(arguments):  # A wrapper's: each has a layer of its own.
        arguments = arguments()
    ours = getattr(layers, name)
    if issubclass(ours, keras.constraints.Constraint):
        return keras.layers.Dense(3, kernel_constraint=ours(*arguments), name=called)
    return ours(*arguments, name=called)


def sequential(name):
    return keras.Sequential([keras.Input(CASES[name][1]), made(name), keras.layers.Flatten()])


def functional(name):
    inputs = keras.Input(CASES[name][1])
    x = keras.layers.Activation("tanh")(inputs)
    return keras.Model(inputs, keras.layers.Flatten()(made(name)(x)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Each layer in a Sequential and, in mixed precision, in a functional model; both loaded."""
    folder = tmp_path_factory.mktemp("saved")
    models, outputs = {}, {}
    before = keras.config.dtype_policy()
    try:
        for build, policy in zip((sequential, functional), POLICIES, strict=True):
            keras.config.set_dtype_policy(policy)
            for name in layers.__all__:
                path = str(folder / f"{name}_{policy}")
                x = draw((2, *CASES[name][1]))
                model = models[path] = build(name)
                outputs[path] = checks.predict(model, x)
                model.save(path + ".keras")
                if policy == "float32":
                    tfcompress.export_keras(model, path + "_built_in.keras", representative=x)
                np.save(path + ".npy", x)
    finally:
        keras.config.set_dtype_policy(before)
    kinds = {path: type(model.get_layer("mine")).__name__ for path, model in models.items()}
    (folder / "models.json").write_text(json.dumps(kinds))
    done = subprocess.run(
        [sys.executable, "-c", LOADING, str(folder / "models.json")],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        (name, policy): Saved(
            kinds[path],
            models[path].get_layer("mine").compute_dtype,
            outputs[path],
            np.load(path + "_loaded.npy"),
            np.load(path + "_built_in.npy") if policy == "float32" else None,
        )
        for name in layers.__all__
        for policy in POLICIES
        for path in [str(folder / f"{name}_{policy}")]
    }


@each
def test_name_in_files_stays(name):
    assert keras.saving.get_registered_name(getattr(layers, name)) == f"tfcompress>{name}"


@each
@pytest.mark.parametrize("policy", POLICIES)
def test_another_process_loads_it(name, policy, saved):
    one = saved[name, policy]
    assert one.kind in (name, "Dense")
    assert one.dtype == policy.removeprefix("mixed_")
    assert one.here.dtype == one.loaded.dtype == one.dtype
    assert np.isfinite(one.here).all()
    assert np.abs(one.here).max() > 0
    np.testing.assert_array_equal(one.loaded, one.here)


@each
def test_keras_alone_loads_it_as_built_in_layers(name, saved):
    one = saved[name, "float32"]
    np.testing.assert_allclose(one.built_in, one.here, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_saved_model_serves_every_layer(tmp_path):
    """Keras's own `model.export`, of one model with each of the layers behind an input."""
    import tensorflow

    inputs = {name: keras.Input(CASES[name][1], name=name) for name in layers.__all__}
    model = keras.Model(inputs, {n: made(n, f"{n}_layer")(x) for n, x in inputs.items()})
    model.export(str(tmp_path), verbose=False)
    x = {name: draw((2, *CASES[name][1])) for name in layers.__all__}
    serving = tensorflow.saved_model.load(str(tmp_path)).signatures["serving_default"]
    served = serving(**{name: tensorflow.constant(array) for name, array in x.items()})
    for name, expected in model(x, training=False).items():
        np.testing.assert_allclose(served[name], expected, rtol=1e-5, atol=1e-6, err_msg=name)
