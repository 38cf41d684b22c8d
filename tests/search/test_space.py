"""What a search draws: legal chains, and the values that options say are tried."""

import pytest

from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.options import ranges
from tfcompress.search.space import Choice, Space, allowed


def picks(**chosen):
    """Draws what is given by name; of other options their range's first or lowest value."""

    def suggest(name, values):
        return chosen.get(name, values.values[0] if values.values else values.low)

    return suggest


def test_draws_a_chain_with_options():
    choice = Space.of(["cp", "prune", "channels"]).draw(
        picks(shape="cp", weights="prune", **{"prune.final_sparsity": 0.9})
    )
    assert choice == Choice("cp+prune", {"cp.macs_ratio": 0.15, "prune.final_sparsity": 0.9})
    assert choice.texts == {"cp.macs_ratio": "0.15", "prune.final_sparsity": "0.9"}
    assert str(choice) == "cp+prune cp.macs_ratio=0.15 prune.final_sparsity=0.9"


def test_nothing_is_the_float_network():
    assert Space.of(["cp", "prune"]).draw(picks(shape="none", weights="none")) == Choice("", {})


def test_what_may_not_follow_is_no_choice():
    # Distillation trains another network: it would undo nothing here, but a chain refuses it.
    assert not allowed(Choice("prune+channels", {}))
    assert allowed(Choice("channels+prune", {}))


def test_every_value_that_is_searched_can_be_had():
    for name in techniques.names():
        technique = techniques.get(name)
        for option, values in ranges(technique.options).items():
            for value in values.values or (values.low, values.high):
                technique.make_options(**{option: value})


def test_refuses():
    with pytest.raises(InputError, match="unknown technique 'cpp'"):
        Space.of(["cpp"])
    with pytest.raises(InputError, match=r"int8 changes no weights.*--techniques"):
        Space.of(["int8"])


def test_contains_without_being_told_what_says_what_to_try():
    space = Space.of()
    assert {"channels", "cp", "svd", "distill"} <= {*space.shapes}
    assert {"prune", "qat", "lsq", "xnor", "pq"} <= {*space.weights}
    assert not {"baseline", "int8", "float16", "dsd"} & {*space.shapes, *space.weights}
