"""What an editor shows of a layer: its arguments, each of which the docstring explains."""

import inspect
import re

import keras
import pytest

from tfcompress import layers

each_name = pytest.mark.parametrize("name", layers.__all__)


def parameters(name):
    """Of `__init__`, without self."""
    return list(inspect.signature(getattr(layers, name).__init__).parameters.values())[1:]


@each_name
def test_arguments_have_names(name):
    kinds = [parameter.kind for parameter in parameters(name)]
    assert inspect.Parameter.VAR_POSITIONAL not in kinds
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD


@each_name
def test_every_argument_is_documented(name):
    doc = inspect.getdoc(getattr(layers, name))
    section = re.search(r"^Args:\n((?:    .*\n|\n)+)", doc, re.M)[1]
    documented = set()
    for names in re.findall(r"^    (\S[^:]*(?:\n        [^:]*)??):", section, re.M):
        documented.update(re.split(r",\s+", names))
    own = {each.name for each in parameters(name) if each.kind is not each.VAR_KEYWORD}
    assert documented - {"**kwargs"} == own


@each_name
def test_other_arguments_are_those_of_every_layer(name):
    """`**kwargs` are for `keras.layers.Layer`, which refuses what it doesn't know."""
    ours = getattr(layers, name)
    if not issubclass(ours, keras.layers.Layer):
        return
    needed = {
        each.name: 4
        for each in parameters(name)
        if each.default is each.empty and each.kind is not each.VAR_KEYWORD
    }
    if name == "ShuffleUnit":
        needed["filters"] = 12
    if name == "NearestFill2D":
        needed = {"rows": [0], "columns": [0]}
    if "layer" in needed:  # Of a wrapper.
        needed["layer"] = keras.layers.Dense(4)
    layer = ours(**needed, name="mine", dtype="float16", trainable=False)
    assert (layer.name, layer.compute_dtype, layer.trainable) == ("mine", "float16", False)
    with pytest.raises(ValueError, match=r"Unrecognized keyword arguments.*no_such_argument"):
        ours(**needed, no_such_argument=1)


@pytest.mark.parametrize(
    ("ours", "keras_layer"),
    [
        (layers.BinaryConv2D, keras.layers.Conv2D),
        (layers.HashedConv2D, keras.layers.Conv2D),
        (layers.BinaryDense, keras.layers.Dense),
        (layers.HashedDense, keras.layers.Dense),
        (layers.CodebookConv2D, keras.layers.Conv2D),
        (layers.CodebookDense, keras.layers.Dense),
    ],
)
def test_arguments_extend_keras(ours, keras_layer):
    """The same names in the same order with the same defaults, then the layer's own by name."""
    expected = inspect.signature(keras_layer.__init__).parameters.values()
    later = ("lora_rank", "lora_alpha", "quantization_config", "kwargs")
    expected = [(each.name, each.default) for each in expected if each.name not in later]
    actual = inspect.signature(ours.__init__).parameters.values()
    positional = [each for each in actual if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert [(each.name, each.default) for each in positional] == expected
