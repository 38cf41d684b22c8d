"""The contract: every class that the bridge converts, there and back, with all its settings."""

import numpy as np
import pytest

from tests.bridge import layer_cases, nets
from tfcompress.bridge import copy_back, to_keras, to_tf_keras
from tfcompress.bridge.configs import CONVERTIBLE
from tfcompress.bridge.convert import sublayers


def kinds(layer):
    yield type(layer).__name__
    for part in sublayers(layer).values():
        for each in part if isinstance(part, list) else [part]:
            yield from kinds(each)


def test_every_convertible_class_has_a_case():
    covered = {kind for case in layer_cases.SINGLE for kind in kinds(case[2]())}
    covered |= {type(layer_cases.several(name)[1]).__name__ for name in layer_cases.SEVERAL}
    assert covered == CONVERTIBLE


def settings(layer):
    """What the way there and back must leave alone."""
    dropped = ("name", "seed", "build_config", "activity_regularizer")
    found = {}
    for key, value in layer.get_config().items():
        if key.endswith("_initializer") or key in dropped or key in ("layer", "cell", "cells"):
            continue
        if key == "backward_layer":
            continue
        found[key] = tuple(value) if isinstance(value, list) else value
    found["activity"] = repr(getattr(layer.activity_regularizer, "get_config", dict)())
    for key, part in sublayers(layer).items():
        each = part if isinstance(part, list) else [part]
        found[key] = [settings(one) for one in each]
    return found


def with_positive_axis(found, rank):
    """tf_keras writes out axes that count from the end."""
    if isinstance(found.get("axis"), int) and found["axis"] < 0:
        found["axis"] += rank
    elif isinstance(found.get("axis"), tuple):
        found["axis"] = tuple(axis % rank for axis in found["axis"])
    return found


CASES = [
    pytest.param(lambda case=case: layer_cases.single(*case), id=type(case[2]()).__name__)
    for case in layer_cases.SINGLE
] + [
    pytest.param(lambda name=name: layer_cases.several(name), id=name)
    for name in layer_cases.SEVERAL
]


@pytest.mark.parametrize("make", CASES)
def test_there_and_back(make):
    model, layer = make()
    nets.randomise(model)
    x = nets.draw(model)
    there = to_tf_keras(model)
    assert nets.apart(model, there, x) < 1e-5
    for new in (to_keras(there), copy_back(there, model)):
        assert nets.apart(model, new, x) < 1e-5
        for old_weight, new_weight in zip(model.get_weights(), new.get_weights(), strict=True):
            np.testing.assert_array_equal(old_weight, new_weight)
    back = to_keras(there).get_layer(layer.name)
    rank = len(model.inputs[0].shape)
    assert type(back) is type(layer)
    assert back.trainable == layer.trainable
    before, after = settings(layer), settings(back)
    if "Normalization" in type(layer).__name__:
        before, after = with_positive_axis(before, rank), with_positive_axis(after, rank)
    assert repr(before) == repr(after)
