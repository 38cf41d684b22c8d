import sys

import keras as real
import pytest

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
