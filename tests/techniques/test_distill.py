"""Students: which network learns, and from what it starts."""

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress import graph, models, techniques
from tfcompress.config import Distillation, Training
from tfcompress.errors import InputError
from tfcompress.techniques.distill import TECHNIQUE
from tfcompress.training import TrainingContext, fit

# 4, 8 and 8 filters of 8, 16 and 16; each with gamma and beta; 4 x 4 positions into 4 classes.
PARAMETERS = 9 * (3 * 4 + 4 * 8 + 8 * 8) + 2 * (4 + 8 + 8) + 4 * 4 * 8 * 4 + 4


def student(model, **options):
    candidate = techniques.Candidate(model)
    return TECHNIQUE.transform(candidate, TECHNIQUE.make_options(**options))


def widths_of(model):
    return [layer.filters for layer in model.layers if isinstance(layer, layers.Conv2D)]


def test_the_default_is_the_builder_at_half_width():
    model = models.build("vgg_small", (32, 32, 3), 10)
    made = student(model).model
    assert widths_of(made) == [16, 32, 64, 64]
    half = models.build("vgg_small", (32, 32, 3), 10, width=0.5)
    assert graph.macs(made) == graph.macs(half)
    same = student(model, student_width=1.0).model
    assert widths_of(same) == widths_of(model)
    kernels = [each.get_layer("conv1").kernel.numpy() for each in (model, same)]
    assert not np.array_equal(*kernels)


def test_a_builder_and_a_file(small, tmp_path):
    model = small()
    by_name = student(model, student="vgg_small").model
    assert by_name.output_shape == model.output_shape
    by_name.save(tmp_path / "mine.keras")
    candidate = student(model, student=str(tmp_path / "mine.keras"))
    for a, b in zip(candidate.model.get_weights(), by_name.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "mine.keras" in candidate.layers[-1].reason
    softmax = keras.Model(model.inputs, layers.Softmax()(model.outputs[0]))
    probabilities = student(softmax, student="vgg_small").model(np.zeros((1, 16, 16, 3)))
    assert float(np.sum(probabilities)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"student": "vgg_smal"}, "unknown model 'vgg_smal'"),
        ({"student": "missing.keras"}, "no model file missing.keras"),
        ({"student_width": 0.0}, "student_width must be above 0 and at most 1; got 0"),
        ({"student": "nin", "student_width": 0.25}, "give one of the two"),
    ],
)
def test_students_that_cannot_be(options, message, small):
    with pytest.raises(InputError, match=message):
        techniques.check(
            techniques.Candidate(small()),
            techniques.make_steps([TECHNIQUE], options, {}),
        )


def test_a_student_of_other_outputs_or_inputs(small, tmp_path):
    for number, (shape, classes, message) in enumerate(
        [((16, 16, 3), 5, "the outputs of .* have the shape .5,."), ((8,), 4, "the inputs of ")]
    ):
        image = keras.Input(shape)
        path = tmp_path / f"{number}.keras"
        keras.Model(image, layers.Dense(classes)(layers.Flatten()(image))).save(path)
        with pytest.raises(InputError, match=message):
            student(small(), student=str(path))
    plain = keras.Sequential([keras.Input((6,)), layers.Dense(3)])
    with pytest.raises(InputError, match="has channels that can be cut out"):
        student(plain)
    two = keras.Model([a := keras.Input((3,)), b := keras.Input((3,))], [a, b])
    with pytest.raises(InputError, match=r"give option student a \.keras file"):
        student(two, student="mlp")


def test_it_learns_from_the_teacher_and_the_control_does_not(smallest, data):
    """The control starts from the same weights, and equals a training without any teacher."""
    made = {}
    for distillation in (Distillation(), None):
        settings = Training(epochs=1, batch_size=16, distillation=distillation)
        step = techniques.Step(TECHNIQUE, TECHNIQUE.make_options(control=True), settings)
        context = TrainingContext(seed=5, teacher=smallest(3))
        model = techniques.Candidate(smallest())
        made[distillation], _ = techniques.apply(model, [step], data, context)
    distilled, alone = made.values()
    assert distilled.control.name == "the same student without a teacher"
    settings = distilled.control.settings(Training(), 99)
    assert settings == Training(epochs=1, batch_size=16)
    fit(distilled.control.model, data, settings, TrainingContext(seed=5))
    for a, b in zip(distilled.control.model.get_weights(), alone.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [each.model.get_layer("conv").kernel.numpy() for each in (distilled, alone)]
    assert not np.array_equal(*kernels)


@pytest.mark.parametrize("chain", ["distill+int8", "distill+xnor", "distill+qat"])
def test_chains(chain):
    assert [step.name for step in techniques.chain(chain)] == chain.split("+")


def test_it_undoes_what_was_done_before_it():
    with pytest.raises(InputError, match=r"distill can't follow prune.*'distill.prune' works"):
        techniques.chain("prune+distill")
    assert tfcompress.techniques.get("distill").training(None).epochs == 20
