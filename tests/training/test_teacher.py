"""A teacher's outputs that are kept: the same training as with those computed in each step."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest

from tfcompress.bridge import to_tf_keras
from tfcompress.bridge import train as tf_keras_train
from tfcompress.config import Distillation, Training
from tfcompress.training import TrainingContext, fit, teacher
from tfcompress.training.teacher import TeacherOutputs, kept_outputs

SETTINGS = Training(
    epochs=3, batch_size=32, learning_rate=1e-2, distillation=Distillation(weight=0.7)
)


def test_outputs_are_those_of_the_images_and_their_mirror_images(toy, build):
    model = build(7, softmax=True)
    outputs = TeacherOutputs(model, toy, mirrored=True)
    chosen, mirrored = np.array([5, 0, 127, 5]), np.array([True, False, True, False])
    images = toy.train.images.batch(chosen)
    images[mirrored] = images[mirrored, :, ::-1]
    expected = model(toy.normalization(images), training=False)
    np.testing.assert_allclose(outputs.of(chosen, mirrored), expected, atol=1e-6)


@pytest.mark.parametrize("augmentation", ["none", "flip"])
@pytest.mark.parametrize("softmax", [False, True])
def test_the_training_is_the_same(toy, build, monkeypatch, augmentation, softmax):
    context = TrainingContext(
        seed=4, teacher=build(7, filters=8, softmax=softmax), augmentation=augmentation
    )
    kept, computed = build(), build()
    rows = fit(kept, toy, SETTINGS, context)
    monkeypatch.setattr(importlib.import_module(fit.__module__), "kept_outputs", lambda *_: None)
    others = fit(computed, toy, SETTINGS, context)
    for a, b in zip(kept.get_weights(), computed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
    assert [row["loss"] for row in rows] == pytest.approx([row["loss"] for row in others], 1e-4)


def test_the_training_in_tf_keras_is_the_same(toy, build, monkeypatch):
    model = build()
    copies = [to_tf_keras(model) for _ in range(2)]
    context = TrainingContext(seed=4, teacher=build(7, filters=8), augmentation="flip")
    tf_keras_train.fit(copies[0], toy, SETTINGS, context)
    monkeypatch.setattr(tf_keras_train, "kept_outputs", lambda *_: None)
    tf_keras_train.fit(copies[1], toy, SETTINGS, context)
    for a, b in zip(*(copy.get_weights() for copy in copies), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_each_image_is_seen_once_by_the_teacher(toy, build, monkeypatch):
    seen = []

    class Runner:
        def predict_on_batch(self, images):
            seen.append(len(images))
            return np.zeros((len(images), 4), np.float32)

    monkeypatch.setattr(teacher, "runner", lambda model: Runner())
    fit(build(), toy, SETTINGS, TrainingContext(teacher=build(7), augmentation="flip"))
    assert sum(seen) == 2 * len(toy.train)


def test_they_are_kept_where_that_saves_time_and_little_memory_is_taken(toy, build, monkeypatch):
    model = build(7)

    def kept(augmentation, of=model, **changes):
        settings = dataclasses.replace(SETTINGS, **changes)
        return kept_outputs(of, toy, settings, augmentation) is not None

    assert kept("none", epochs=2)
    assert not kept("none", epochs=1)
    assert kept("flip", epochs=3)
    assert not kept("flip", epochs=2)
    assert not kept("shift")
    assert not kept("flip+shift")
    assert not kept("none", of=None)
    assert not kept("none", distillation=None)
    assert not kept("none", distillation=Distillation(weight=0.0))
    assert not kept("none", distillation=Distillation(mix=1.0))
    inputs = keras.Input((16, 16, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    half = keras.Model(inputs, keras.layers.Dense(4, dtype="mixed_float16")(pooled))
    assert not kept("none", of=half)
    monkeypatch.setattr(teacher, "_MOST_BYTES", 128 * 4 * 4)
    assert kept("none")
    assert not kept("flip")
