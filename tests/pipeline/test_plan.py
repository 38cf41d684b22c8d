"""What the flags make of the recipes, before anything is loaded."""

import keras
import pytest

from tfcompress.config import Distillation, RunConfig
from tfcompress.errors import InputError
from tfcompress.pipeline.plan import plan


def planned(technique="prune", **options):
    return plan(RunConfig(technique=technique, options=options, output_dir="unused"))


def test_the_distillation_is_set_field_by_field():
    job = planned("prune+int8", **{"distillation.temperature": "8", "distillation.losses": "dkd"})
    expected = Distillation(losses="dkd", temperature=8.0)
    assert [step.training.distillation for step in job.steps] == [expected, None]
    assert job.baseline.distillation is None
    assert job.to_json()["compressed_training"]["prune"]["distillation"]["losses"] == "dkd"
    with pytest.warns(DeprecationWarning, match="--set distillation.weight now"):
        (step,) = planned(distillation_weight="0.4").steps
    assert step.training.distillation == Distillation(weight=0.4)
    (step,) = planned(distillation_weight="0").steps
    assert step.training.distillation.weight == 0


def test_a_teacher_teaches_every_technique_that_trains(tmp_path):
    file = tmp_path / "t.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(file)
    settings = {"options": {"recipe": "paper"}, "output_dir": "unused"}
    (alone,) = plan(RunConfig(technique="xnor", **settings)).steps
    assert alone.training.distillation is None
    job = plan(RunConfig(technique="xnor", teacher=(str(file),), **settings))
    assert job.steps[0].training.distillation == Distillation()
    assert job.to_json()["teacher"] == [str(file)]
    (by_dkd,) = plan(RunConfig(technique="xnor", distil="dkd", **settings)).steps
    assert by_dkd.training.distillation == Distillation(losses="dkd")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"teacher": ("missing.keras",)}, "no model file missing.keras"),
        ({"teacher": (__file__,)}, "test_plan.py isn't a .keras or .h5 file"),
        ({"technique": "int8", "distil": "dkd"}, "--distil is for what a technique trains, and"),
        ({"distil": "kl"}, "distillation.losses must be one of kd"),
    ],
)
def test_teachers_that_cannot_be(settings, message):
    with pytest.raises(InputError, match=message):
        plan(RunConfig(**{"technique": "svd", "output_dir": "unused", **settings}))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("distillation.temprature", "2", "unknown option 'distillation.temprature'.*temperature"),
        ("distillation.beta", "many", "option beta takes a number; got 'many'"),
        ("distillation.losses", "kl", "losses must be one of kd, labels.*got 'kl'"),
        ("distillation", "kd", "unknown option 'distillation'"),
    ],
)
def test_what_no_distillation_has(key, value, message):
    with pytest.raises(InputError, match=message):
        planned(**{key: value})
