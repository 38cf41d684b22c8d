"""Each kind of data that `fit` takes trains to the weights of arrays, in the same order."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

import tfcompress
from tfcompress.data.as_fit import as_fit
from tfcompress.training.batches import epoch_batches

BATCH, EXAMPLES, SEED = 16, 256, 3
OPTIONS = {
    "prune": {"engine": "keras", "final_sparsity": 0.5, "frequency": 2},
    "svd": {"macs_ratio": 0.6},
    "xnor": {},
}


def examples():
    """Returns whole numbers of 0..255, classes that can be told apart, and weights."""
    rng = np.random.default_rng(0)
    y = np.arange(EXAMPLES) % 3
    x = rng.integers(0, 60, (EXAMPLES, 8, 8, 1))
    for place in range(3):
        x[y == place, place * 3 : place * 3 + 2] += 120
    return x.astype("float32"), y, rng.uniform(0.5, 2, EXAMPLES).astype("float32")


X, Y, WEIGHT = examples()


def order():
    """Returns the places of the examples as arrays are shuffled: streams are read as they are."""
    drawn = epoch_batches(
        as_fit((X, np.arange(EXAMPLES)), (X, Y)),
        augmentation=None,
        batch_size=BATCH,
        seed=SEED,
        epoch=0,
    )
    return np.concatenate([drawn[number][1] for number in range(len(drawn))])


ORDER = order()


def network(structure=lambda x: x):
    """Returns a small net, the same whenever it is made."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1), name="image")
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    for filters in (8, 16, 16):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.5)(x))
    x = layers.Dense(3)(layers.Flatten()(layers.MaxPooling2D()(x)))
    return keras.Model(structure(inputs), x)


def batches(*parts):
    """Yields batches of arrays, which are in the order of training."""
    for start in range(0, EXAMPLES, BATCH):
        yield tuple(part[start : start + BATCH] for part in parts)


def for_ever(*parts):
    while True:
        yield from batches(*parts)


class Sequence(keras.utils.PyDataset):
    def __init__(self, *parts):
        super().__init__()
        self.batches = list(batches(*parts))

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


class Tensor:
    """Holds an array as PyTorch's tensors do: NumPy takes it by `__array__`."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype)


class Loader:
    """Iterates as PyTorch's DataLoader does: lists of tensors, and a length."""

    def __init__(self, *parts):
        self.parts = parts

    def __len__(self):
        return EXAMPLES // BATCH

    def __iter__(self):
        for batch in batches(*self.parts):
            yield [Tensor(part) for part in batch]


def pipeline(*parts):
    tensorflow = pytest.importorskip("tensorflow")
    return tensorflow.data.Dataset.from_tensor_slices(parts).batch(BATCH)


KINDS = {
    "uint8 arrays": lambda x, *rest: (x.astype("uint8"), *rest),
    "float64 arrays": lambda x, *rest: (x.astype("float64"), *rest),
    "tf.data": pipeline,
    "PyDataset": Sequence,
    "generator": for_ever,
    "function": lambda *parts: lambda: batches(*parts),
    "loader": Loader,
}
ARRAYS = ("uint8 arrays", "float64 arrays")


def train(technique, data, model=None, validation_data=(X, Y), **more):
    return tfcompress.compress(
        model or network(),
        technique,
        data,
        validation_data=validation_data,
        seed=SEED,
        epochs=1,
        batch_size=BATCH,
        verbose=False,
        **more,
        **OPTIONS[technique],
    )


def check_equal(small, reference):
    """The last bits may differ where a teacher's outputs are computed batch by batch."""
    for one, other in zip(small.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


@functools.cache
def of_arrays(technique, weights):
    """Returns the network of float arrays, whose examples have weights or not."""
    return train(technique, (X, Y, WEIGHT) if weights else (X, Y))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("technique", "kind"),
    [*(("prune", kind) for kind in KINDS), ("svd", "tf.data"), ("xnor", "tf.data")],
)
def test_each_kind_trains_as_arrays_do(technique, kind):
    at = slice(None) if kind in ARRAYS else ORDER
    steps = {"steps_per_epoch": EXAMPLES // BATCH} if kind == "generator" else {}
    small = train(technique, KINDS[kind](X[at], Y[at], WEIGHT[at]), **steps)
    check_equal(small, of_arrays(technique, weights=True))
    assert (small.predict(X, verbose=0).argmax(-1) == Y).mean() > 0.7


@pytest.mark.slow
@pytest.mark.parametrize("technique", OPTIONS)
def test_dictionaries_train_as_arrays_do(technique):
    reference = of_arrays(technique, weights=False)
    with pytest.raises(AssertionError):  # The weights of the examples count.
        check_equal(of_arrays(technique, weights=True), reference)
    model = network(lambda inputs: {"image": inputs})
    held_out = ({"image": X}, Y)
    check_equal(train(technique, held_out, model, held_out), reference)
    stream = pipeline({"image": X[ORDER]}, Y[ORDER])
    check_equal(train(technique, stream, model, held_out), reference)


@pytest.mark.slow
def test_int8_of_inputs_alone_is_the_same_file_whatever_they_are(tmp_path):
    model = network()
    assert all(
        (one == other).all()
        for one, other in zip(
            tfcompress.compress(model, "int8", X, verbose=False).get_weights(),
            model.get_weights(),
            strict=True,
        )
    )
    kinds = {"arrays": X, **{kind: KINDS[kind](X) for kind in KINDS if kind != "generator"}}
    kinds["uint8 arrays"] = X.astype("uint8")
    kinds["float64 arrays"] = X.astype("float64")
    files = {}
    for kind, inputs in kinds.items():
        path = tmp_path / "int8.tflite"
        tfcompress.export(model, path, storage="int8", representative=inputs, io="float32")
        files[kind] = path.read_bytes()
    assert {kind for kind in files if files[kind] != files["arrays"]} == set()
