"""Images made from a teacher alone: formulas against NumPy, and what becomes of noise."""

import keras
import numpy as np
import pytest

from tfcompress.config import Inversion
from tfcompress.data.normalization import Normalization
from tfcompress.errors import InputError
from tfcompress.training import inversion, inverted_folder
from tfcompress.training.evaluate import logits

NORMALIZATION = Normalization((100.0,), (50.0,))


def classifier(batch_norm=True, end=None):
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(6, 3, padding="same")(x)
    if batch_norm:
        x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(keras.layers.ReLU()(x))
    outputs = keras.layers.Dense(3, activation=end)(x)
    model = keras.Model(inputs, outputs)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            rng = np.random.default_rng(1)  # Of images of one value each.
            seen = np.repeat(rng.normal(size=(50, 1)), 64).reshape(50, 8, 8, 1)
            features = np.asarray(model.layers[1](seen)).reshape(-1, 6)
            layer.moving_mean.assign(features.mean(0))
            layer.moving_variance.assign(features.var(0))
    return model


def softmax(values):
    powers = np.exp(values - values.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_the_loss_is_its_formula():
    teacher, student = classifier(), classifier(batch_norm=False, end="softmax")
    settings = Inversion(
        bn_weight=2.0, tv_weight=0.3, l2_weight=0.1, adversarial_weight=0.7, steps=1
    )
    canvas = inversion._Canvas(teacher, student, 5, NORMALIZATION, settings)
    noise = np.random.default_rng(2).uniform(-1, 1, canvas.shape).astype("float32")
    canvas.paint(noise)
    targets, shift = np.array([0, 1, 2, 0, 1]), (1, -2)
    canvas(np.c_[targets, np.tile(shift, (5, 1))].astype("int32"))
    (loss,) = canvas.losses

    x = np.roll(noise, shift, axis=(1, 2))
    seen = (127.5 + 64 * x - 100) / 50
    given = softmax(logits(teacher, seen))
    expected = -np.log(given[np.arange(5), targets]).mean()
    norm = np.linalg.norm
    for a, b in (
        (x[:, :, 1:], x[:, :, :-1]),
        (x[:, 1:], x[:, :-1]),
        (x[:, 1:, 1:], x[:, :-1, :-1]),
        (x[:, 1:, :-1], x[:, :-1, 1:]),
    ):
        expected += 0.3 * norm((a - b).ravel())
    expected += 0.1 * norm(x.ravel())
    features = np.asarray(teacher.layers[1](seen)).reshape(-1, 6)
    layer = teacher.layers[2]
    expected += 2 * norm(features.mean(0) - np.asarray(layer.moving_mean))
    expected += 2 * norm(features.var(0) - np.asarray(layer.moving_variance))
    answers = logits(student, seen)
    middle = (given + answers) / 2
    divergence = (given * np.log(given / middle)).sum(-1) + (
        answers * np.log(answers / middle)
    ).sum(-1)
    expected += 0.7 * (1 - divergence.mean() / 2)
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_images_get_their_classes_and_the_teachers_statistics():
    teacher = classifier(end="softmax")
    before = [np.array(weight) for weight in teacher.get_weights()]
    losses = []
    settings = Inversion(steps=60, bn_weight=0.1, jitter=0)
    images = inversion.invert(
        teacher,
        12,
        NORMALIZATION,
        settings=settings,
        on_step=lambda step, loss: losses.append(loss),
    )
    assert (images.shape, images.dtype) == ((12, 8, 8, 1), np.uint8)
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 2
    chosen = logits(teacher, NORMALIZATION(images)).argmax(-1)
    np.testing.assert_array_equal(chosen, np.arange(12) % 3)
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_no_images_can_be_made_from():
    table = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(InputError, match="a classifier of images of one size"):
        inversion.invert(table, 2, NORMALIZATION)
    with pytest.raises(InputError, match="compares the teacher with a student"):
        inversion.invert(classifier(), 2, NORMALIZATION, settings=Inversion(adversarial_weight=1.0))
    assert inversion.has_batch_norm(classifier())
    assert not inversion.has_batch_norm(classifier(batch_norm=False))


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("batch_size", 1), ("bn_weight", -1.0), ("learning_rate", 0.0)],
)
def test_settings_that_make_no_images(name, value):
    with pytest.raises(InputError, match=f"inversion.{name} must be"):
        Inversion(**{name: value})


def test_a_folder_goes_on_where_it_was_and_is_replaced_for_another_teacher(tmp_path, monkeypatch):
    made = []

    def invert(teacher, count, normalization, *, seed, **others):
        made.append((count, seed))
        others["on_step"](1, 1.0)
        return np.full((count, 8, 8, 1), seed % 250, np.uint8)

    monkeypatch.setattr(inverted_folder, "invert", invert)
    teacher = classifier(batch_norm=False)
    lines = []

    def run(teacher=teacher, **changes):
        return inverted_folder.invert_into(
            tmp_path / "images",
            teacher,
            10,
            NORMALIZATION,
            settings=Inversion(batch_size=4, **changes),
            say=lambda *line: lines.append(line),
        )

    folder = run()
    assert [count for count, _ in made] == [4, 3, 3]
    assert len({seed for _, seed in made}) == 3
    assert "no batch normalisation" in lines[0][1]
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {f"{at:05}.png" for at in range(10)} | {"inverted.json"}
    (folder / "00005.png").unlink()  # As a kill would leave it.
    run()
    assert made[3:] == made[1:2]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    run(steps=7)
    assert len(made) == 7
    (folder / "note.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds note\.txt, which isn't of inverted images"):
        run(steps=8)
