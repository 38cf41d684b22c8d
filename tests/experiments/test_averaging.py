"""The mean of the last epochs' weights, with batch normalisation's statistics taken anew."""

import averaging
import binary_recipes
import keras
import numpy as np

from tfcompress.config import Training
from tfcompress.data import from_arrays
from tfcompress.training import TrainingContext, fit


class _Kept(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([np.array(each) for each in self.model.trainable_variables])


def test_the_mean_of_the_last_epochs_and_its_statistics():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3)).astype(np.uint8)
    data = from_arrays((pixels, np.arange(64) % 4))
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    before = keras.layers.Conv2D(4, 3)(inputs)
    x = keras.layers.BatchNormalization()(before)
    outputs = keras.layers.Dense(4)(keras.layers.GlobalAveragePooling2D()(x))
    model, kept = keras.Model(inputs, outputs), _Kept()
    images = [batch for batch, _ in data.batches("train", 8)]
    last = averaging.LastWeights(3)
    fit(model, data, Training(epochs=4, batch_size=16), TrainingContext(callbacks=[kept, last]))
    for variable, end in zip(model.trainable_variables, kept.epochs[-1], strict=True):
        np.testing.assert_array_equal(variable, end)
    last.put_mean(model, 2, images)
    means = [np.mean(values, 0) for values in zip(*kept.epochs[2:], strict=True)]
    for variable, mean in zip(model.trainable_variables, means, strict=True):
        np.testing.assert_allclose(np.asarray(variable), mean, rtol=1e-6, atol=1e-7)
    norm = model.layers[2]
    convolved = keras.Model(inputs, before)
    found = [convolved.predict(batch, verbose=0) for batch in images]
    wanted = [np.mean([getattr(x, name)((0, 1, 2)) for x in found], 0) for name in ("mean", "var")]
    np.testing.assert_allclose(norm.moving_mean, wanted[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, wanted[1], rtol=1e-4)
    assert norm.momentum == 0.99


def test_recipes_that_differ_in_the_mean_alone_are_one_training():
    mean, default = "20 epochs with the last 5 averaged", "20 epochs"
    groups = binary_recipes.trainings([mean, "60 epochs", default])
    assert sorted(groups) == [[default, mean], ["60 epochs"]]
    groups = binary_recipes.trainings(list(binary_recipes.RECIPES))
    assert sorted(title for group in groups for title in group) == sorted(binary_recipes.RECIPES)
    assert len(groups) == len(binary_recipes.RECIPES) - 3
