import ast
import importlib.machinery
import importlib.util
import pathlib
import re
import sys

import keras as real
import pytest

import tfcompress
from tfcompress import deferred
from tfcompress.deferred import keras


def test_it_is_keras():
    assert keras.layers.Dense is real.layers.Dense
    assert keras.__version__ == real.__version__
    with pytest.raises(AttributeError, match="nonsense"):
        keras.nonsense  # noqa: B018


def test_a_module_is_loaded_at_the_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    module = deferred._DeferredModule("colorsys")
    assert "colorsys" not in sys.modules
    assert module.rgb_to_hsv(0, 0, 0) == (0, 0, 0)
    assert "colorsys" in sys.modules


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that isn't imported yet, with a module."""
    (tmp_path / "late_package").mkdir()
    (tmp_path / "late_package" / "__init__.py").write_text("from late_package.part import value\n")
    (tmp_path / "late_package" / "part.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    yield "late_package"
    for name in ("late_package", "late_package.part"):
        sys.modules.pop(name, None)


def test_a_function_runs_once_a_package_is_imported(package):
    calls = []

    def function():
        calls.append(importlib.import_module(package).value)  # Its code has run.

    finders = [*sys.meta_path]
    deferred.after_import(package, function)
    assert importlib.util.find_spec(package) is not None  # A program that only asks.
    assert importlib.util.find_spec("no_such_package") is None
    assert not calls
    assert package not in sys.modules
    module = importlib.import_module(package)
    assert calls == [1]
    assert sys.meta_path == finders
    assert isinstance(module.__loader__, importlib.machinery.SourceFileLoader)
    importlib.reload(module)
    assert calls == [1]
    deferred.after_import(package, function)  # Imported already.
    assert calls == [1, 1]


def test_a_package_that_fails_is_tried_again(package, tmp_path):
    calls = []
    deferred.after_import(package, lambda: calls.append(1))
    part = tmp_path / package / "part.py"
    part.write_text("no_value = 1\n")
    with pytest.raises(ImportError, match="value"):
        importlib.import_module(package)
    sys.modules.pop(f"{package}.part")
    part.write_text("value, other_value = 1, 2\n")
    importlib.invalidate_caches()
    importlib.import_module(package)
    assert calls == [1]


def test_keras_is_imported_even_where_our_layers_cannot_be(monkeypatch):
    monkeypatch.setitem(sys.modules, "tfcompress.layers", None)
    with pytest.warns(UserWarning, match="can't load models with layers of tfcompress here: "):
        tfcompress._register_layers()


def test_what_layers_take_of_keras_maths_is_found_when_it_is_called():
    """`tfcompress.ops.few_bits`, imported first, imports Keras, which has our layers imported.

    Then its own names aren't there yet, so that layers, and what they import, take the module.
    """
    package = pathlib.Path(tfcompress.__file__).parent
    maths = {f"tfcompress.ops.{path.stem}" for path in (package / "ops").glob("*.py")
             if re.search(r"^(import|from) keras\b", path.read_text(), re.MULTILINE)}  # fmt: skip
    assert "tfcompress.ops.few_bits" in maths
    for path in [*(package / "layers").glob("*.py"), *(package / "ops").glob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module not in maths, f"{path.name}, line {node.lineno}"
