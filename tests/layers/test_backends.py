"""Keras chooses its backend once in a process, so another one takes another process.

TensorFlow is hidden there: the layers must work where it isn't installed.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[2]

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX isn't installed"),
    pytest.mark.skipif(keras.backend.backend() == "jax", reason="this process runs on JAX"),
]


def on_jax(code):
    # Compiling takes longer here than running.
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )


# A training step of each layer, and the binary ones' maths; -m slow runs all of their tests.
QUICK = (
    "(train and not factorize and not half_precision and not reconstruct) or straight_through or "
    "(binary and both and (forward or papers) and (valid or same-stride or groups or shape0))"
)


@pytest.mark.parametrize(
    "chosen",
    [pytest.param(["-k", QUICK], id="quick"), pytest.param([], id="all", marks=pytest.mark.slow)],
)
def test_layers_and_their_maths_pass_their_tests_on_jax(chosen):
    command = ["tests/layers", "tests/ops", "-q", "-p", "no:cacheprovider", *chosen]
    code = (
        "import sys\n"
        "sys.modules['tensorflow'] = None\n"
        "import keras, pytest\n"
        "assert keras.backend.backend() == 'jax'\n"
        f"sys.exit(pytest.main({command}))"
    )
    done = on_jax(code)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout


def test_models_are_built_copied_and_counted_without_importing_tensorflow():
    code = (
        "import sys\n"
        "import tfcompress\n"
        "assert 'keras' not in sys.modules\n"
        "import keras\n"
        "assert keras.saving.get_registered_object('tfcompress>CPConv2D')\n"
        "import tfcompress.layers, tfcompress.models, tfcompress.graph\n"
        "import tfcompress.training, tfcompress.techniques\n"
        "print([name for name in ('tensorflow', 'tensorflow_datasets') if name in sys.modules])\n"
        "import numpy as np\n"
        "from tfcompress import graph, models\n"
        "model = models.build('vgg_small', (16, 16, 3), 10)\n"
        "copy = graph.clone(model)\n"
        "x = np.random.default_rng(0).standard_normal((2, 16, 16, 3)).astype('float32')\n"
        "assert np.array_equal(model(x), copy(x))\n"
        "print(graph.macs(copy) - graph.macs(model))"
    )
    done = on_jax(code)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["[]", "0"]
