"""A new technique is one file and one test: lists, flags and contracts find it by its folder."""

import importlib
import sys

import keras
import numpy as np
import pytest

import tests.techniques
import tfcompress
from tests.techniques import test_contract
from tfcompress import run, techniques
from tfcompress.config import RunConfig
from tfcompress.errors import InputError
from tfcompress.layers import LowRankConv2D
from tfcompress.pipeline.plan import plan

TECHNIQUE = '''
"""Weights of few decimals."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfcompress.graph import clone
from tfcompress.techniques.base import Candidate, LayerLine, Property, Technique, distilled


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecimalsOptions:
    """How fine the weights are.

    Attributes:
        decimals: behind the point.
    """

    decimals: int = 2


def _transform(candidate: Candidate, options: DecimalsOptions) -> Candidate:
    model = clone(candidate.model)
    lines = []
    for layer in model.layers:
        if hasattr(layer, "kernel"):
            layer.kernel.assign(np.round(layer.get_weights()[0], options.decimals))
            lines.append(LayerLine(layer.name, type(layer).__name__, "rounded", "a test"))
    return candidate.then(model, *lines)


TECHNIQUE = Technique(
    name="decimals",
    summary="weights of few decimals",
    reference="Nobody 1999, arXiv:9901.00001",
    options=DecimalsOptions,
    transform=_transform,
    training=distilled(epochs=3),
    storages=("float16",),
    produces=frozenset({Property.CLUSTERS}),
)
'''

TEST = """
from tests.techniques.counts import PLAIN

PARAMETERS = PLAIN
"""


@pytest.fixture
def technique_file(tmp_path, monkeypatch):
    """The technique in a folder of its own, which the package's path holds for this test alone."""
    folder = tmp_path / "techniques"
    folder.mkdir()
    (folder / "decimals.py").write_text(TECHNIQUE)
    monkeypatch.setattr(techniques, "__path__", [*techniques.__path__, str(folder)])
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("tfcompress.techniques.decimals", None)
    vars(techniques).pop("decimals", None)


@pytest.fixture
def test_file(tmp_path, monkeypatch):
    """Its test, likewise."""
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_decimals.py").write_text(TEST)
    path = [*tests.techniques.__path__, str(folder)]
    monkeypatch.setattr(tests.techniques, "__path__", path)
    importlib.invalidate_caches()
    yield folder
    sys.modules.pop("tests.techniques.test_decimals", None)
    vars(tests.techniques).pop("test_decimals", None)


def test_every_list_has_it(technique_file, capsys):
    assert "decimals" in techniques.names()
    assert techniques.get("decimals").reference == "Nobody 1999, arXiv:9901.00001"
    assert run.main(["run", "--list"]) == 0
    text = capsys.readouterr().out
    assert "  decimals: weights of few decimals\n" in text
    assert "    Nobody 1999, arXiv:9901.00001; stored as float16\n    --set decimals=2\n" in text


def test_the_commands_flags_take_it(technique_file):
    job = plan(RunConfig(technique="svd+decimals", options={"decimals": "1"}, epochs=4))
    assert [step.technique.name for step in job.steps] == ["svd", "decimals"]
    assert job.steps[1].options.decimals == 1
    assert job.steps[1].training.epochs == 4
    assert plan(RunConfig(technique="decimals")).storages == ("float16",)
    with pytest.raises(InputError, match="unknown option 'decimal': did you mean 'decimals'"):
        plan(RunConfig(technique="decimals", options={"decimal": "1"}))
    with pytest.raises(InputError, match="prune can't follow decimals: it would spread the shared"):
        plan(RunConfig(technique="decimals+prune"))


def test_the_api_takes_it(technique_file, small, data):
    coarse = tfcompress.transform(small(), "decimals", decimals=0)
    kernel = keras.ops.convert_to_numpy(coarse.get_layer("conv2").kernel)
    np.testing.assert_array_equal(kernel, np.round(kernel))
    trained = tfcompress.compress(
        small(), "svd+decimals", data, epochs=1, batch_size=32, decimals=1, verbose=False
    )
    assert isinstance(trained.get_layer("conv2"), LowRankConv2D)


def test_every_contract_takes_it(technique_file, test_file, small, tmp_path):
    test_contract.test_says_what_it_is("decimals")
    test_contract.test_options_are_frozen_and_have_defaults("decimals")
    transformed = test_contract.transforming(small)
    test_contract.test_weights_of_its_own("decimals", transformed)
    test_contract.test_keeps_the_report_so_far("decimals", transformed)
    test_contract.test_parameters("decimals", transformed)
    test_contract.test_trains_lowers_exports_and_reloads("decimals", small, tmp_path)


def test_the_contract_asks_for_the_count(technique_file, small):
    with pytest.raises(AssertionError, match=r"write .*test_decimals\.py with PARAMETERS"):
        test_contract.test_parameters("decimals", test_contract.transforming(small))
