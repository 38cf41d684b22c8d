"""What every storage must do, whatever it is: a new one is tested on arrival."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from tests.export.conftest import binary_net, real_images
from tests.export.quantised import mixed_net, pictures
from tfcompress.config import RunConfig
from tfcompress.errors import ExportError, InputError
from tfcompress.export import export, low_bits, storages, traits
from tfcompress.export.storage import ModelTraits, Tolerance
from tfcompress.pipeline import catalogue
from tfcompress.pipeline.plan import plan
from tfcompress.runtime import LiteModel
from tfcompress.tflite.content import read
from tfcompress.tflite.editor import Editor
from tfcompress.training import logits

BINARY = ModelTraits(binary_inputs="b")
TRAINED, SIMULATED = ModelTraits(trained_ranges=True), ModelTraits(simulated=True)
NONE = float("inf")

# By what the network is: largest difference, least agreement, largest relative rms. Who loosens a
# limit does it here, too.
LIMITS = {
    ("1bit", "usual"): (1e-5, 1.0, NONE),
    ("1bit", "binary"): (1e-5, 1.0, NONE),
    ("dynamic", "usual"): (0.1, 0.95, NONE),
    ("float16", "usual"): (5e-3, 0.98, 2e-3),
    ("float32", "usual"): (1e-5, 1.0, NONE),
    ("float32", "binary"): (1e-5, 1.0, NONE),
    ("float32", "simulated"): (0.1, 0.95, 0.02),
    ("int2", "usual"): (0.1, 0.95, NONE),
    ("int2", "binary"): (1e-5, 1.0, NONE),
    ("int4", "usual"): (1.0, 0.75, 0.5),
    ("int4", "binary"): (1e-5, 1.0, NONE),
    ("int8", "usual"): (0.5, 0.9, 0.15),
    ("int8", "binary"): (1e-5, 1.0, NONE),
    ("int8", "trained"): (0.25, 0.9, 0.1),
    ("int8_int4", "usual"): (1.0, 0.75, 0.5),
    ("lce", "usual"): (0.1, 0.98, 0.01),
    ("lce", "binary"): (0.1, 0.98, 0.01),
    ("sparse", "usual"): (1e-5, 1.0, NONE),
    ("sparse", "binary"): (1e-5, 1.0, NONE),
    ("xnor", "usual"): (1e-5, 1.0, NONE),
    ("xnor", "binary"): (1e-5, 1.0, NONE),
    ("xnor+int8", "usual"): (1e-5, 1.0, NONE),
    ("xnor+int8", "binary"): (1e-5, 1.0, NONE),
}
KINDS = {
    "usual": ModelTraits(),
    "binary": BINARY,
    "trained": TRAINED,
    "simulated": SIMULATED,
}
# Storages of networks that other tests train or whose runtime isn't here.
ELSEWHERE = {"lce"}

each = pytest.mark.parametrize("name", storages.names())


@pytest.fixture(scope="module", autouse=True)
def as_fast():
    """Layers aren't timed: few bits are as fast as floats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_bits, "_latency_ratio", lambda *_: 1.0)
        yield


def sparse_net():
    """A net with nine zeros in ten weights."""
    model = mixed_net()
    chance = np.random.default_rng(3)
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            kernel = layer.kernel.numpy()
            layer.kernel.assign(kernel * (chance.random(kernel.shape) < 0.1))
    return model


def model_for(name):
    """A net that a storage takes, and images for it."""
    if name in ("xnor", "xnor+int8", "1bit", "int2"):
        return binary_net(), real_images
    if name == "sparse":
        return sparse_net(), lambda count, seed: pictures(count, seed=seed)
    return mixed_net(), lambda count, seed: pictures(count, seed=seed)


@each
def test_says_what_it_is(name):
    storage = storages.get(name)
    assert storage.name == name
    assert storage.summary
    assert f"  {name}: {storage.summary}" in catalogue.text()


@each
@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_the_pinned_ones(name, kind):
    storage = storages.get(name)
    if (name, kind) not in LIMITS:
        with pytest.raises(InputError, match=f"^storage {name.replace('+', '.')} .*: use "):
            storage.method_for(KINDS[kind])
        return
    limits = Tolerance(*LIMITS[name, kind])
    assert storage.method_for(KINDS[kind]).tolerance == limits


@each
def test_every_storage_is_in_the_table(name):
    assert (name, "usual") in LIMITS, "write the storage's limits into LIMITS"


@each
def test_builds_audits_loads_and_compares(name, tmp_path):
    if name in ELSEWHERE:
        pytest.skip("TFCOMPRESS_LCE_PYTHON isn't set")
    model, images = model_for(name)
    path = tmp_path / "m.tflite"
    written = export(
        model,
        path,
        storage=name,
        representative=images(40, seed=1),
        calibration=images(64, seed=2),
    )
    assert (written.storage, written.size_bytes) == (name, path.stat().st_size)
    assert written.parity.images == 40
    assert sum(written.layer_bytes.values()) == sum(read(path).weight_bytes.values())
    # On other images than those that the export compared.
    x = images(40, seed=9)
    expected, actual = logits(model, x), LiteModel(path).predict(x)
    method = storages.get(name).method_for(traits.traits_of(model))
    largest = np.abs(expected).max()
    bound = 2e-5 if method.exact else method.tolerance.max_abs
    off = np.abs(actual - expected).max(axis=1) > bound * largest
    # A sign may flip in one image of forty.
    assert off.sum() <= (1 if method.exact and method.runtime.custom_ops else 0)
    same = (expected.argmax(1) == actual.argmax(1))[~off].mean()
    assert same >= method.tolerance.min_agreement - 0.05 * (not method.exact)


def shift_outputs(path, share, largest):
    """Adds a share of the largest output to the first class's bias, in a file."""
    editor = Editor(path)
    op = editor.writer(editor.text(editor.graph.outputs[0]))
    assert editor.name(op) == "FULLY_CONNECTED"
    bias = editor.values(op.inputs[2]).copy()
    bias[0] += share * largest
    op.inputs = [*op.inputs[:2], editor.constant(bias, "shifted")]
    editor.write(path)


EXACT_WITH_BITS = [
    name for name, kind in LIMITS if kind == "binary" and LIMITS[name, kind] == (1e-5, 1.0, NONE)
]


@pytest.mark.parametrize("name", sorted({*EXACT_WITH_BITS, "sparse"} - {"xnor+int8"}))
def test_an_exact_storage_is_held_to_it(name, tmp_path, monkeypatch):
    model, images = (sparse_net(), pictures) if name == "sparse" else (binary_net(), real_images)
    x = images(40)
    largest = np.abs(logits(model, x)).max()
    storage = storages.get(name)
    method = storage.method_for(traits.traits_of(model))
    assert method.exact

    def shifted(share):
        def build(job):
            built = method.build(job)
            shift_outputs(built.path, share, largest)
            return built

        changed = dataclasses.replace(
            storage, method=lambda _: dataclasses.replace(method, build=build)
        )
        monkeypatch.setattr(storages, "get", lambda _: changed)
        return export(model, tmp_path / "m.tflite", storage=name, representative=x)

    assert shifted(5e-6).parity.max_abs_diff < 1e-5 * largest
    with pytest.raises(ExportError, match=f"outputs by up to .* .storage {name} allows"):
        shifted(2e-5)


NEW_STORAGE = """
from tfcompress.export import audit
from tfcompress.export.storage import Method, Storage


def _build(job):
    from tfcompress.export import build

    return build.float_file(job, activations="signed").as_built()


METHOD = Method(build=_build, audit=audit.float_weights)
STORAGE = Storage(
    name="mine", summary="floats, as a test has them; exact", method=lambda traits: METHOD
)
"""


def test_a_storage_is_one_file(tmp_path, monkeypatch):
    """A new file in the folder is found by the list, the flag and export."""
    (tmp_path / "mine.py").write_text(NEW_STORAGE)
    monkeypatch.setattr(storages, "__path__", [*storages.__path__, str(tmp_path)])
    try:
        assert "mine" in storages.names()
        assert "  mine: floats, as a test has them; exact" in catalogue.text()
        job = plan(RunConfig(technique="baseline", storage="mine"))
        assert job.storage == "mine"
        path = tmp_path / "m.tflite"
        written = export(mixed_net(), path, storage="mine", representative=pictures(8))
        assert written.storage == "mine"
        assert read(path).weight_bytes.keys() <= {"float32", "int32"}
    finally:
        sys.modules.pop("tfcompress.export.storages.mine", None)


def test_listing_imports_neither_keras_nor_tensorflow():
    code = (
        "import sys\n"
        "from tfcompress.export import storages\n"
        "print(len(storages.names()))\n"
        "print([name for name in ('keras', 'tensorflow', 'ai_edge_litert') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(len(storages.names())), "[]"]
