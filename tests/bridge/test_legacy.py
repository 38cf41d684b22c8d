import json
import subprocess
import sys
from pathlib import Path

import pytest

import tfcompress
from tfcompress.bridge import legacy

# What a program sees before and after, with the bridge's imports in between.
PROGRAM = """
import json, os, sys
{first}
from tfcompress.bridge import legacy, nearest
before = dict(os.environ)
with nearest.nearest_by_search():
    pass
made = legacy.tfmot().__name__, legacy.tf_keras().__version__
import keras, tensorflow as tf
print(json.dumps({{
    "made": made,
    "environment": before == dict(os.environ),
    "keras": keras.__version__,
    "tf.keras": tf.keras.__version__,
    "layer": tf.keras.layers.Dense is keras.layers.Dense,
    "legacy": os.environ.get("TF_USE_LEGACY_KERAS"),
}}))
"""


def seen(first):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(first=first)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "first",
    [
        pytest.param("", id="first", marks=pytest.mark.slow),
        pytest.param("import tensorflow as tf; tf.keras.layers", id="tensorflow-before"),
    ],
)
def test_what_tfmot_does_to_the_process_stays_inside(first):
    found = seen(first)
    assert found["made"][0] == "tensorflow_model_optimization"
    assert found["made"][1].startswith("2.")
    assert found["environment"]
    assert found["legacy"] is None
    assert found["keras"].startswith("3.")
    assert found["tf.keras"].startswith("3.")
    assert found["layer"]


def test_nothing_else_imports_tfmot():
    """An import that isn't contained turns tf.keras of a whole program into Keras 2."""
    modules = Path(tfcompress.__file__).parent.rglob("*.py")
    naming = [path.name for path in modules if "tensorflow_model_optimization" in path.read_text()]
    assert naming == ["legacy.py"]


def test_importing_the_bridge_imports_none_of_them():
    program = (
        "import os, sys; os.environ['KERAS_BACKEND'] = 'jax'; import tfcompress.bridge; "
        "heavy = ('tensorflow', 'tf_keras', 'tensorflow_model_optimization'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_users_own_setting_is_left(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    legacy.tfmot()
    import os

    assert os.environ["TF_USE_LEGACY_KERAS"] == "0"
