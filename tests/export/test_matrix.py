"""Every kind of model in every storage: a file that agrees with Keras, or why not in a line.

.venv/bin/python -m pytest -m slow tests/export/test_matrix.py -rA
"""

import keras
import numpy as np
import pytest

import tfcompress
from tests.export.any_models import MODELS, made, predicted
from tfcompress.benchmark import file_summary
from tfcompress.errors import ExportError, InputError
from tfcompress.export import export, storages
from tfcompress.ops.differences import relative_rms

pytestmark = pytest.mark.slow
# Models that no file can hold, and what is said of them.
REFUSED = {"text": "takes text, and a .tflite takes numbers", "subclassed": "has no graph"}
# The largest relative rms of any output, on 200 rows of noise: int8 cuts what it hasn't seen.
WORKS = {"float32": 1e-6, "float16": 1e-3, "dynamic": 0.03, "int8": 0.15, "int8_int4": 0.5}
# These have something to write only where weights are binary, few or zero, or fast enough.
FINDS_NOTHING = ("finds", "needs larq-compute-engine", "lce writes models with 1 input")


@pytest.mark.parametrize("storage", storages.names())
@pytest.mark.parametrize("name", MODELS)
def test_cell(name, storage, tmp_path, record_property):
    model, x = made(name)
    path = tmp_path / "m.tflite"
    try:
        exported = export(model, path, storage=storage, representative=x)
    except (InputError, ExportError) as error:
        text = str(error)
        record_property("refused", text)
        print(f"{name} {storage}: {text}")
        assert "\n" not in text
        assert not list(tmp_path.glob("*.tflite"))
        if name in REFUSED:
            assert REFUSED[name] in text
        else:
            assert storage not in WORKS
            assert any(word in text for word in FINDS_NOTHING)
        return
    assert name not in REFUSED
    print(f"{name} {storage}: {exported.parity.relative_rms:.2g} of the outputs' rms")
    assert exported.parity.relative_rms <= WORKS.get(storage, 0.5)
    # Keras itself rounds a model of 16 bits; the file is compared with its float32 form.
    rounding = 1e-3 if "half" in name else 0.0
    _runs(model, x, path, WORKS.get(storage, 0.5) + rounding)
    if storage in ("float32", "int8"):
        (measured,) = tfcompress.benchmark([path], backends=["cpu"], runs=20)
        assert measured.outcome == "ok"


def _runs(model, x, path, limit):
    """Loads the file, calls it by the inputs' names, and reads what `inspect` shows."""
    loaded = tfcompress.load(path)
    rows = keras.tree.map_structure(lambda array: array[:8], x)
    got = loaded.predict(rows)
    got = list(got.values()) if isinstance(got, dict) else [got]
    for right, values in zip(predicted(model, rows), got, strict=True):
        assert values.shape == right.shape
        assert np.isfinite(values).all()
        assert relative_rms(right.astype("float32"), values) <= 3 * limit
    assert "loads and runs" in file_summary.summary_text(file_summary.summarize(str(path)))
