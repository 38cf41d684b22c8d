"""When and how much is pruned, against Zhu and Gupta's equation 1."""

import pytest

from tfcompress.bridge import prune
from tfcompress.training.pruning import LayerPruning

SETTINGS = {
    "schedule": "polynomial",
    "initial_sparsity": 0.5,
    "final_sparsity": 0.9,
    "begin_step": 10,
    "end_step": 110,
    "frequency": 5,
}


def arguments(**settings):
    return prune.arguments(LayerPruning(**{**SETTINGS, **settings}))


def schedule(**settings):
    return arguments(**settings)["pruning_schedule"]


def at(schedule, step):
    pruned, sparsity = schedule(step)
    return bool(pruned), float(sparsity)


@pytest.mark.parametrize("power", [1.0, 3.0])
def test_polynomial(power):
    steps = schedule(power=power)
    for step in (10, 15, 60, 110):
        left = (1 - (step - 10) / 100) ** power
        assert at(steps, step) == (True, pytest.approx(0.9 + (0.5 - 0.9) * left))
    assert [at(steps, step)[0] for step in (5, 9, 12, 115)] == [False] * 4


def test_the_power_is_the_papers():
    assert at(schedule(), 60)[1] == pytest.approx(0.9 - 0.4 * 0.5**3)


@pytest.mark.parametrize("settings", [{"schedule": "constant"}, {"m_by_n": (2, 4)}])
def test_constant(settings):
    steps = schedule(**settings)
    for step in (10, 60, 110):
        assert at(steps, step) == (True, pytest.approx(0.9))
    assert [at(steps, step)[0] for step in (5, 12, 115)] == [False] * 3


def test_blocks_and_patterns():
    blocks = arguments(block_size=(1, 4))
    assert (blocks["block_size"], blocks["sparsity_m_by_n"]) == ((1, 4), None)
    pattern = arguments(m_by_n=(2, 4))
    assert (pattern["block_size"], pattern["sparsity_m_by_n"]) == ((1, 1), (2, 4))
