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


@pytest.mark.parametrize(
    ("choice", "factor", "expected"),
    [
        (Choice("channels", {"channels.macs_ratio": 0.5}), 0.62, 0.3),
        (Choice("channels", {"channels.macs_ratio": 0.5}), 0.999, 0.45),
        (Choice("channels", {"channels.macs_ratio": 0.5}), 9.0, 0.75),
        (Choice("channels", {"channels.macs_ratio": 0.75}), 2.0, None),
        (Choice("channels", {"channels.macs_ratio": 0.15}), 0.9, None),
        (Choice("hashed", {"hashed.compression_ratio": 0.5}), 0.3, 0.125),
        (Choice("lsq", {"lsq.bits": 8}), 0.9, 4),
        (Choice("distill", {"distill.student_width": 1.0}), 0.25, 0.5),
        (Choice("ternary", {"ternary.scale": "mean"}), 0.5, None),
        (Choice("", {}), 0.5, None),
    ],
)
def test_scales_what_bytes_follow(choice, factor, expected):
    found = choice.scaled(factor)
    if expected is None:
        assert found is None
        return
    assert found.chain == choice.chain
    assert [*found.options.values()] == pytest.approx([expected])


def test_the_first_option_is_scaled_and_others_stay():
    choice = Choice("channels+lsq", {"channels.macs_ratio": 0.5, "lsq.bits": 4})
    assert choice.scaled(0.62).texts == {"channels.macs_ratio": "0.3", "lsq.bits": "4"}


def test_a_choice_is_drawn_as_it_says():
    space = Space.of(["cp", "prune", "channels", "lsq"])
    for choice in (
        Choice("", {}),
        Choice("cp", {"cp.macs_ratio": 0.3}),
        Choice("prune", {"prune.final_sparsity": 0.9}),
        Choice("channels+lsq", {"channels.macs_ratio": 0.5, "lsq.bits": 4}),
    ):
        assert space.draw(picks(**space.drawn_as(choice))) == choice
