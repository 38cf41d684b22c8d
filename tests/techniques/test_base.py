import dataclasses

import pytest

from tfcompress import techniques
from tfcompress.config import Distillation, Training
from tfcompress.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    rank: int = 4
    share: float | None = None
    kind: str = "thin"

    def __post_init__(self):
        if self.rank < 1:
            raise InputError(f"option rank must be 1 or more; got {self.rank}")


TECHNIQUE = techniques.Technique(
    name="thinning",
    summary="",
    reference="",
    options=Options,
    transform=lambda candidate, options: candidate,
    training=lambda options: None,
    storages=("float32",),
)


def test_options_from_texts_and_values():
    assert TECHNIQUE.make_options() == Options()
    assert TECHNIQUE.make_options(rank="8", share="0.5") == Options(rank=8, share=0.5)
    assert TECHNIQUE.make_options(rank=8, share=None, kind="x") == Options(rank=8, kind="x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rnk": "8"},
            r"unknown option of thinning 'rnk': did you mean 'rank'\? Known: kind, rank",
        ),
        ({"rank": "many"}, r"option rank takes .*; got 'many'"),
        ({"rank": "0"}, "option rank must be 1 or more; got 0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        TECHNIQUE.make_options(**options)


def test_names_are_sorted_and_without_the_rooms_own_modules():
    names = techniques.names()
    assert names == sorted(names)
    assert {"baseline", "xnor", "bwn", "binary_activations"} <= set(names)
    assert "base" not in names
    assert not any(name.startswith("_") for name in names)


def test_unknown_technique_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown technique 'xnr': did you mean 'xnor'\? Known: "):
        techniques.get("xnr")
    with pytest.raises(InputError, match=r"unknown technique 'base': did you mean 'baseline'"):
        techniques.get("base")


# Of every technique that is trained: epochs, and the rate where it isn't the usual one.
RECIPES = {
    "biclustering": (5, 5e-4),
    "binary_activations": (20, 2e-3),
    "bwn": (10, 2e-3),
    "channels": (10, 2e-3),
    "cluster": (5, 1e-4),
    "cp": (5, 5e-4),
    "deep_compression": (10, 1e-3),
    "hashed": (10, 2e-3),
    "lcnn": (5, 5e-4),
    "monochromatic": (5, 5e-4),
    "perforate": (10, 2e-3),
    "pq": (10, 1e-3),
    "prune": (10, 1e-3),
    "qat": (4, 2e-4),
    "separable": (20, 2e-3),
    "spatial": (5, 5e-4),
    "svd": (5, 5e-4),
    "tt": (5, 5e-4),
    "tucker": (5, 5e-4),
    "xnor": (20, 2e-3),
}


@pytest.mark.parametrize("name", RECIPES)
def test_the_teachers_share_of_the_default_recipes(name):
    """0.7 of the loss at temperature 4: a recipe with another share is another recipe."""
    technique = techniques.get(name)
    training = technique.training(technique.make_options())
    assert training.distillation == Distillation(losses="kd", weight=0.7, temperature=4.0)
    assert (training.epochs, training.learning_rate) == RECIPES[name]


def test_a_control_is_trained_as_the_baseline_unless_it_says_how():
    baseline, own = Training(epochs=3, learning_rate=0.1), Training(epochs=2)
    assert techniques.Control(None, "from scratch").settings(baseline, 7) == Training(
        epochs=7, learning_rate=0.1
    )
    assert techniques.Control(None, "without a teacher", own).settings(baseline, 7) is own


def test_other_words_for_a_technique():
    assert techniques.get("ste_tern") is techniques.get("ternary")
    words = [
        *techniques.names(),
        *(w for n in techniques.names() for w in techniques.get(n).aliases),
    ]
    assert len({*words}) == len(words)
