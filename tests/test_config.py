import dataclasses
import json
import subprocess
import sys
from typing import Literal, Optional

import numpy as np
import pytest

from tfcompress import errors, options
from tfcompress.config import Distillation, RunConfig, Training, recorded_training
from tfcompress.errors import InputError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """One option of each kind."""

    rank: int = 64
    sparsity: float = 0.5
    fold: bool = True
    start: str = "svd"
    width: float | None = None
    layers: int | None = None
    twice: Optional[bool] = None  # noqa: UP045 - the old way of writing it
    path: str | None = None
    skip: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    share: int | float = 1
    either: int | bool = 1
    kind: Literal["cp", "tucker"] = "cp"


def function(first, second=2, *, depth: int = 3, plain="text"):
    """Two of its parameters are options."""


def test_option_types_are_the_keyword_only_ones():
    assert options.option_types(function) == {"depth": int, "plain": str}
    assert set(options.option_types(Options)) == {f.name for f in dataclasses.fields(Options)}
    assert options.option_types(Options)["layers"] == int | None


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("rank", "12", 12),
        ("rank", "-3", -3),
        ("sparsity", "0.25", 0.25),
        ("sparsity", "1e-3", 0.001),
        ("sparsity", "2", 2.0),
        ("fold", "true", True),
        ("fold", "YES", True),
        ("fold", "1", True),
        ("fold", "False", False),
        ("fold", "no", False),
        ("fold", "0", False),
        ("start", "none", "none"),
        ("start", "", ""),
        ("width", "none", None),
        ("width", "None", None),
        ("width", "0.5", 0.5),
        ("layers", "7", 7),
        ("layers", "none", None),
        ("twice", "none", None),
        ("twice", "no", False),
        ("path", "none", None),
        ("path", "a,b", "a,b"),
        ("skip", "conv1, fc6 ,,", ("conv1", "fc6")),
        ("skip", "", ()),
        ("ranks", "8, 16", (8, 16)),
        ("share", "2", 2),
        ("share", "0.5", 0.5),
        ("either", "true", True),
        ("kind", "tucker", "tucker"),
    ],
)
def test_texts_become_values_of_their_types(key, text, value):
    found = options.typed_options(Options, {key: text})
    assert found == {key: value}
    assert type(found[key]) is type(value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("rank", "2.5", "option rank takes a whole number; got '2.5'"),
        ("rank", "none", "option rank takes a whole number; got 'none'"),
        ("sparsity", "half", "option sparsity takes a number; got 'half'"),
        ("fold", "maybe", "option fold takes true or false; got 'maybe'"),
        ("width", "wide", "option width takes a number; got 'wide'"),
        ("ranks", "8,x", "option ranks takes a whole number; got 'x'"),
        ("share", "x", "option share takes a whole number or a number; got 'x'"),
        ("either", "x", "option either takes a whole number or true or false; got 'x'"),
        ("kind", "svd", "option kind takes one of cp, tucker; got 'svd'"),
    ],
)
def test_texts_of_another_type(key, text, message):
    with pytest.raises(InputError) as caught:
        options.typed_options(Options, {key: text})
    assert str(caught.value) == message


def test_unknown_options_are_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown option 'rnk': did you mean 'rank'"):
        options.typed_options(Options, {"rnk": "3"})
    with pytest.raises(InputError, match="unknown option 'first'"):
        options.typed_options(function, {"first": "3"})


def test_no_options():
    assert options.typed_options(Options, {}) == {}


def test_unknown_name_without_a_near_one():
    assert str(errors.unknown_name("model", "q", ["b", "a"])) == "unknown model 'q': Known: a, b"
    assert str(errors.unknown_name("model", "q", [])) == "unknown model 'q': Known: none"


def test_input_error_is_a_value_error():
    assert issubclass(InputError, ValueError)


def test_one_of():
    errors.one_of("--kind", "b", iter("ab"))
    with pytest.raises(InputError, match="--kind must be one of a, b; got 'c'"):
        errors.one_of("--kind", "c", iter("ab"))


def test_parse_assignments():
    pairs = ["rank=64", " width = 0.5 ", "path=a=b", "empty="]
    expected = {"rank": "64", "width": "0.5", "path": "a=b", "empty": ""}
    assert options.parse_assignments(pairs) == expected
    assert options.parse_assignments([]) == {}


@pytest.mark.parametrize("pair", ["rank", "=3", "  =3", ""])
def test_what_is_no_assignment(pair):
    with pytest.raises(InputError) as caught:
        options.parse_assignments(["width=2", pair])
    assert str(caught.value) == f"--set takes key=value, as in --set width=2; got '{pair}'"


def test_a_key_given_twice():
    with pytest.raises(InputError, match="--set rank is given twice"):
        options.parse_assignments(["rank=1", "rank =1"])


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "good", "bad", "message"),
    [
        ("epochs", [0, 1], [-1], "^epochs must be 0 or more; got -1"),
        ("batch_size", [1], [0, -4], "^batch_size must be 1 or more; got"),
        ("learning_rate", [1e-9, 3], [0, -1, NAN, INFINITY], "^learning_rate must be a positive"),
        ("optimizer", ["adam", "sgd"], ["Adam", ""], "optimizer must be one of adam, sgd; got"),
        (
            "learning_rate_schedule",
            ["cosine", "constant", "step"],
            ["linear"],
            "learning_rate_schedule must be one of cosine, constant, step; got 'linear'",
        ),
        ("momentum", [0, 0.99], [-0.1, 1, NAN], r"momentum must be in \[0, 1\); got"),
        ("weight_decay", [0, 1e-4], [-1e-4, NAN], "weight_decay must be 0 or more; got"),
    ],
)
def test_training_is_validated(field, good, bad, message):
    for value in good:
        assert getattr(Training(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(InputError, match=message):
            Training(**{field: value})


@pytest.mark.parametrize(
    ("field", "good", "bad", "message"),
    [
        ("weight", [0, 0.5, 1], [-0.1, 1.1, NAN], r"weight must be in \[0, 1\]; got"),
        ("noise_share", [0, 1], [2, NAN], r"noise_share must be in \[0, 1\]; got"),
        ("temperature", [0.1, 20], [0, -1, NAN], "temperature must be positive; got"),
        ("beta", [0, 8], [-1, NAN, INFINITY], "beta must be 0 or more; got"),
        ("hint_epochs", [0], [-1], "hint_epochs must be 0 or more; got"),
        ("hint_epochs", [], [2], "hint_epochs takes 'hint' among distillation.losses; got 'kd'"),
        ("losses", ["kd", "labels+softmax"], ["kl", ""], "losses must be one of kd, labels, soft"),
        ("losses", ["dkd + hint"], ["kd+kd"], "losses has one twice: kd.kd"),
    ],
)
def test_distillation_is_validated(field, good, bad, message):
    for value in good:
        assert getattr(Distillation(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(InputError, match=f"^distillation.{message}"):
            Distillation(**{field: value})


def test_the_names_that_training_had_for_its_teachers_share():
    recipe = Training(epochs=3, distillation=Distillation(temperature=2.0, losses="dkd"))
    with pytest.warns(DeprecationWarning, match=r"Training\.distillation.weight now"):
        assert Training(distillation_weight=0.3).distillation == Distillation(weight=0.3)
    assert Training(distillation_weight=0, distillation_temperature=3).distillation is None
    assert Training(distillation_temperature=3.0) == Training()
    changed = dataclasses.replace(recipe, distillation_weight=0.9)
    assert changed.distillation == Distillation(weight=0.9, temperature=2.0, losses="dkd")
    assert recipe.with_settings({"distillation_weight": 0.0}).distillation is None
    with pytest.warns(DeprecationWarning, match=r"Training\.distillation.temperature now"):
        assert recipe.distillation_temperature == 2
    assert (recipe.distillation_weight, Training().distillation_weight) == (0.7, 0)


def test_fields_of_the_distillation_change_a_recipes_one_by_one():
    recipe = Training(distillation=Distillation(temperature=2.0))
    changed = recipe.with_settings({"distillation": {"weight": 0.5}})
    assert changed.distillation == Distillation(temperature=2.0, weight=0.5)
    own = Distillation(losses="dkd")
    assert Training().with_settings({"distillation": {"losses": "dkd"}}).distillation == own
    assert recipe.with_settings({"distillation": None}).distillation is None
    with pytest.raises(InputError, match=r"unknown option 'distillation\.wieght'.*weight"):
        recipe.with_settings({"distillation": {"wieght": 0.5}})
    with pytest.raises(InputError, match=r"distillation takes a Distillation; got 0\.5"):
        Training(distillation=0.5)


def test_a_training_that_an_older_run_recorded():
    now = dataclasses.asdict(Training(distillation=Distillation(weight=0.4, temperature=3.0)))
    old = {**now, "distillation_weight": 0.4, "distillation_temperature": 3.0}
    del old["distillation"]
    assert recorded_training(old) == now
    old["distillation_weight"] = 0.0
    assert recorded_training(old)["distillation"] is None
    assert recorded_training(now) == now


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", "3", "epochs takes a whole number; got '3' (str)"),
        ("epochs", 2.5, "epochs takes a whole number; got 2.5 (float)"),
        ("epochs", True, "epochs takes a whole number; got True (bool)"),
        ("learning_rate", "0.1", "learning_rate takes a number; got '0.1' (str)"),
        ("learning_rate", None, "learning_rate takes a number; got None (NoneType)"),
        ("optimizer", 1, "optimizer takes one of adam, sgd; got 1 (int)"),
    ],
)
def test_values_of_another_type(field, value, message):
    with pytest.raises(InputError) as caught:
        Training(**{field: value})
    assert str(caught.value) == message


def test_values_of_the_annotated_types():
    given = {"rank": np.int64(3), "sparsity": np.float32(0.5), "width": 2, "skip": ["a"]}
    options.check_types(Options, given | {"either": True, "path": None, "unknown": object()})
    Training(epochs=np.int32(2), learning_rate=1)
    for name, value in (
        ("rank", None),
        ("skip", 3),
        ("skip", [3]),
        ("skip", "a"),
        ("fold", 1),
        ("share", True),
    ):
        with pytest.raises(InputError, match=f"^option {name} takes "):
            options.check_types(Options, {name: value}, "option ")


@pytest.mark.parametrize(
    ("field", "good", "bad", "message"),
    [
        ("epochs", [None, 0, 5], [-1], "--epochs must be 0 or more; got -1"),
        ("baseline_epochs", [None, 0], [-1], "--baseline_epochs must be 0 or more; got -1"),
        ("batch_size", [None, 1], [0], "--batch_size must be 1 or more; got 0"),
        ("image_size", [None, 1], [0, -8], "--image_size must be 1 or more; got"),
        ("benchmark_runs", [1], [0], "--benchmark_runs must be 1 or more; got 0"),
        ("learning_rate", [None, 0.1], [0, NAN, INFINITY], "--learning_rate must be a positive"),
        ("seed", [0, 2**32 - 1], [-1, 2**32], r"--seed must be in 0\.\.4294967295; got"),
        ("augment", [None, "none", "flip+shift"], ["rotate"], "--augment must be one of none, "),
        ("normalization", ["auto", "unit"], ["imagenet"], "--normalization must be one of auto, "),
        (
            "benchmark",
            [("cpu",), ("cpu", "gpu+cpu?precision=fp32"), ("delegate:x.so?a=1",), ("none",)],
            [("delegate",), ("cpu", "tpu")],
            "--benchmark must be one of cpu, cpu-noxnn, gpu, gpu.cpu, delegate:PATH, none; got",
        ),
    ],
)
def test_run_config_is_validated(field, good, bad, message):
    for value in good:
        assert getattr(RunConfig(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(InputError, match=message):
            RunConfig(**{field: value})


@pytest.mark.parametrize("benchmark", [("none", "cpu"), ("cpu", "none")])
def test_benchmark_none_stands_alone(benchmark):
    with pytest.raises(InputError, match="--benchmark none excludes every other backend"):
        RunConfig(benchmark=benchmark)


@pytest.mark.parametrize("kind", [RunConfig, Training])
def test_settings_are_frozen_and_given_by_name(kind):
    settings = kind()
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.epochs = 3
    with pytest.raises(TypeError):
        kind("xnor")


def test_run_config_has_options_of_its_own():
    options = {"width": "2"}
    run = RunConfig(options=options)
    options["width"] = "3"
    assert run.options == {"width": "2"}


def test_run_config_as_json():
    run = RunConfig(technique="bwn", benchmark=("cpu", "cpu-noxnn"), options={"width": "2"})
    values = json.loads(json.dumps(run.to_json()))
    assert values["benchmark"] == ["cpu", "cpu-noxnn"]
    assert RunConfig(**{**values, "benchmark": tuple(values["benchmark"])}) == run


def test_config_imports_the_standard_library_only():
    code = (
        "import sys, tfcompress.config\n"
        "print([name for name in ('numpy', 'keras', 'tensorflow', 'absl') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
