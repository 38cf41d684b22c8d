"""What every storage must do, whatever it is: a new one is tested on arrival."""

import dataclasses
import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

from tests.export.conftest import binary_net, real_images
from tests.export.quantised import mixed_net, pictures
from tests.export.storages.limits import EXACT
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

KINDS = {
    "usual": ModelTraits(),
    "binary": ModelTraits(binary_inputs="b"),
    "trained": ModelTraits(trained_ranges=True),
    "simulated": ModelTraits(simulated=True),
}
# Storages of networks that other tests train or whose runtime isn't here.
ELSEWHERE = {"lce"}

each = pytest.mark.parametrize("name", storages.names())


@pytest.fixture(scope="module", autouse=True)
def as_fast():
    """Layers aren't timed: few bits are as fast as floats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_bits, "_latencies", lambda *_: (1.0, 1.0))
        yield


def own_test(name):
    """The storage's own test, which has its limits."""
    for module in pkgutil.iter_modules(storages.__path__):
        if not module.name.startswith("_"):
            storage = importlib.import_module(f"{storages.__name__}.{module.name}").STORAGE
            if storage.name == name:
                return importlib.import_module(f"tests.export.storages.test_{module.name}")
    raise AssertionError(name)


def model_for(name):
    """A net that a storage takes, and images for it."""
    net = getattr(own_test(name), "NET", mixed_net)
    return net(), real_images if net is binary_net else pictures


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
    limits = own_test(name).LIMITS
    if kind not in limits:
        with pytest.raises(InputError, match=f"^storage {name.replace('+', '.')} .*: use "):
            storage.method_for(KINDS[kind])
        return
    assert storage.method_for(KINDS[kind]).tolerance == Tolerance(*limits[kind])


@each
def test_its_own_test_has_limits(name):
    assert "usual" in own_test(name).LIMITS, "write the storage's limits into its test"


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


EXACT_ONES = [
    name
    for name in storages.names()
    if own_test(name).LIMITS.get("binary") == EXACT and name != "xnor+int8"
]


@pytest.mark.parametrize("name", EXACT_ONES)
def test_an_exact_storage_is_held_to_it(name, tmp_path, monkeypatch):
    net = getattr(own_test(name), "NET", binary_net)
    model, x = net(), (real_images if net is binary_net else pictures)(40)
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
        assert job.storages == ("mine",)
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
