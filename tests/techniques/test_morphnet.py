"""Learned widths: the penalty's prices, the widths that come of it, and the new network."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tests.techniques.conftest import trained
from tests.techniques.counts import PLAIN
from tfcompress import graph, techniques
from tfcompress.data import from_arrays
from tfcompress.errors import InputError
from tfcompress.graph.channels import ChannelGraph

PARAMETERS = PLAIN

TECHNIQUE = techniques.get("morphnet")


def residual(scale=True):
    """A convolution of 8 with a block of 12 around which it is added, and a classifier."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 1, use_bias=False, name="stem")(inputs)
    x = layers.BatchNormalization(scale=scale, name="stem_bn")(x)
    y = layers.Conv2D(12, 1, use_bias=False, name="inner")(x)
    y = layers.ReLU()(layers.BatchNormalization(scale=scale, name="inner_bn")(y))
    y = layers.Conv2D(8, 1, use_bias=False, name="outer")(y)
    x = layers.Add()([x, layers.BatchNormalization(scale=scale, name="outer_bn")(y)])
    x = layers.GlobalAveragePooling2D()(layers.ReLU()(x))
    return keras.Model(inputs, layers.Dense(2, name="scores")(x), name="residual")


def set_scales(model, rng):
    for name in ("stem_bn", "inner_bn", "outer_bn"):
        gamma = model.get_layer(name).gamma
        values = rng.uniform(0.2, 1, gamma.shape) * np.sign(rng.normal(size=gamma.shape))
        gamma.assign(np.where(rng.random(gamma.shape) < 0.3, 0.001, values))
    return model


def test_each_scale_is_priced_by_what_its_channel_costs():
    """By the paper's sums: (scales of inputs) x (filters alive), and the other way round."""
    model = set_scales(residual(), np.random.default_rng(0))
    options = TECHNIQUE.make_options(strength=3.0)
    phase = TECHNIQUE.transform(techniques.Candidate(model), options).model
    stem, inner, outer = (
        np.abs(np.array(model.get_layer(f"{name}_bn").gamma)) for name in ("stem", "inner", "outer")
    )
    sums = np.maximum(stem, outer)  # Of channels that are added, the larger scale.
    a, b = (sums > 0.01).sum(), (inner > 0.01).sum()
    pixels = 16
    macs = [pixels * 3 * 8, pixels * 8 * 12, pixels * 12 * 8, 8 * 2]
    expected = (
        pixels * 3 * sums.sum() + 2 * pixels * (sums.sum() * b + a * inner.sum()) + 2 * sums.sum()
    )
    np.testing.assert_allclose(float(sum(phase.losses)), 3 * expected / sum(macs), rtol=1e-5)
    assert not model.losses


def test_learned_widths_are_multiplied_up_to_the_budget():
    model = set_scales(residual(), np.random.default_rng(0))
    model.get_layer("inner_bn").gamma.assign([1] * 5 + [0] * 7)  # 5 are needed, 4 at least.
    for name in ("stem_bn", "outer_bn"):
        model.get_layer(name).gamma.assign([1] * 7 + [0])
    options = TECHNIQUE.make_options(round_to=1, macs_ratio=1.0)
    _, second = TECHNIQUE.rounds(techniques.Candidate(model), options, tfcompress.config.Training())
    got = TECHNIQUE.transform(techniques.Candidate(model), second[0])
    sums, inner = (got.model.get_layer(name).filters for name in ("stem", "inner"))
    assert sums == got.model.get_layer("outer").filters

    def macs(sums, inner):
        return 16 * (3 * sums + 2 * sums * inner) + 2 * sums

    assert graph.macs(got.model) == macs(sums, inner) <= macs(8, 12) < macs(sums + 1, inner)
    assert abs(sums / inner - 7 / 5) < 0.15  # In the proportion that was learned.
    assert sums > 8
    assert {row.name: (row.before, row.after) for row in got.widths} == {
        "stem": (8, sums),
        "inner": (12, inner),
        "outer": (8, sums),
        "scores": (2, 2),
    }
    lines = {line.name: (line.action, line.reason) for line in got.layers}
    assert lines["stem"] == ("widened", f"8 -> {sums} channels; 7 are needed")
    assert lines["inner"] == ("narrowed", f"12 -> {inner} channels; 5 are needed")


def test_wider_networks_have_the_operations_of_the_old_one():
    """Split, join, grouped and depthwise convolutions and constants take more channels, too."""
    x = inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(8, 3, name="first")(x)
    one, two = keras.ops.split(layers.BatchNormalization()(x), 2, axis=-1)
    x = layers.Concatenate()([one, layers.DepthwiseConv2D(1, depth_multiplier=2)(two)])
    x = layers.Conv2D(12, 1, groups=4, name="grouped")(x * np.arange(12.0, dtype="float32"))
    x = keras.ops.reshape(x, (-1, 2 * 2 * 12))
    model = keras.Model(inputs, layers.Dense(2, name="scores")(x[:, 12:]))
    channels = ChannelGraph(model)
    times = {n: np.full(g.size, 3) for n, g in channels.groups.items() if not g.frozen}
    wide = channels.resized(times)
    assert wide.get_layer("first").filters == 24
    assert wide.get_layer("grouped").kernel.shape == (1, 1, 9, 36)
    assert wide.get_layer("scores").kernel.shape == (3 * 3 * 12, 2)
    assert wide(np.zeros((1, 4, 4, 3))).shape == (1, 2)


def test_small_scales_go():
    """Those that are small and dear go in a short training, and what comes has new weights."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (32, 4, 4, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(32) % 2))
    model, said = residual(), []
    model.get_layer("inner_bn").gamma.assign([1] * 6 + [0.012] * 6)
    candidate = techniques.Candidate(model, say=lambda _, text: said.append(text))
    options = {"sparse_epochs": 3, "strength": 10.0, "size_ratio": 0.9, "round_to": 1}
    got = trained(TECHNIQUE, candidate, data, 0, **options)
    assert said[0] == "channels that are needed: stem 8, inner 6"
    assert 0.8 < graph.parameters(got.model) / graph.parameters(model) <= 0.9
    assert not got.model.losses
    assert not np.any(got.model.get_layer("inner_bn").gamma - 1)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (lambda: residual(scale=False), {}, "no channels that can go pass a batch normalisation"),
        (residual, {"macs_ratio": 0.01}, r"macs_ratio=0.01 is out of reach .* 0.\d+ is left"),
        (residual, {"macs_ratio": 0.5, "size_ratio": 0.5}, "give one of macs_ratio, size_ratio"),
        (residual, {"size_ratio": 1.5}, "size_ratio must be above 0 and at most 1; got 1.5"),
        (residual, {"strength": 0.0}, "option strength must be above 0; got 0.0"),
    ],
)
def test_bad_options(build, options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.check(techniques.Candidate(build()), TECHNIQUE.make_options(**options))


def test_frozen_layers_are_refused():
    model = residual()
    model.get_layer("stem").trainable = False
    with pytest.raises(InputError, match="layers of model 'residual' have trainable=False: stem"):
        TECHNIQUE.check(techniques.Candidate(model), TECHNIQUE.make_options())
