"""What the flags make of the recipes, before anything is loaded."""

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
