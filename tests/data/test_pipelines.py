"""Batches of a user's own pipeline, whatever it is made of."""

import keras
import numpy as np
import pytest

from tfcompress.data.pipelines import Batches, Stream, is_stream
from tfcompress.errors import InputError

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10)


class Sliced(keras.utils.PyDataset):
    def __init__(self):
        super().__init__()
        self.ended = 0

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[3 * index : 3 * index + 3], Y[3 * index : 3 * index + 3]

    def on_epoch_end(self):
        self.ended += 1


class Tensor:
    """As PyTorch's: NumPy reads it once it is detached and on the processor."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    def cpu(self):
        return self.values


class Loader:
    """As PyTorch's `DataLoader`: an iterable with a length."""

    def __len__(self):
        return 4

    def __iter__(self):
        for x, y in make_batches():
            yield [Tensor(x), Tensor(y)]


def make_batches():
    for start in range(0, 10, 3):
        yield X[start : start + 3], Y[start : start + 3]


def for_ever():
    while True:
        yield from make_batches()


def pipeline():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(3)


def unknown():
    """A pipeline that doesn't know its length."""
    return pipeline().filter(lambda x, y: True)


KINDS = {
    "PyDataset": Sliced,
    "DataLoader": Loader,
    "function": lambda: make_batches,
    "list": lambda: list(make_batches()).__iter__,
    "tf.data": pipeline,
    "tf.data of unknown length": unknown,
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_every_epoch_has_all_batches(make):
    source = make()
    assert is_stream(source)
    batches = Batches(source, None, "the stream")
    assert batches.steps == 4
    first = batches.first(5)
    np.testing.assert_array_equal(first.y, Y[:5])
    for _ in range(2):
        epoch = list(batches)
        np.testing.assert_array_equal(np.concatenate([batch.x for batch in epoch]), X)
        np.testing.assert_array_equal(np.concatenate([batch.y for batch in epoch]), Y)
        assert epoch[0].x.dtype == np.float32
        assert epoch[0].sample_weight is None
    if isinstance(source, Sliced):
        assert source.ended == 2


def test_first_examples_are_read_once():
    passes = []

    def source():
        passes.append(1)
        return make_batches()

    batches = Batches(source, 4, "the stream")
    for asked in (3, 2, 3):
        np.testing.assert_array_equal(batches.first(asked).y, Y[:asked])
    assert len(passes) == 1
    for _ in range(2):
        np.testing.assert_array_equal(batches.first(50).y, Y)
    assert len(passes) == 2


def test_a_generator_goes_on_where_it_was():
    batches = Batches(for_ever(), 3, "the stream")
    # What was looked at before is trained on all the same.
    np.testing.assert_array_equal(batches.first(4).y, Y[:4])
    ten = np.concatenate([batch.y for _ in range(2) for batch in batches])
    np.testing.assert_array_equal(ten, [*Y, *Y[:6]])


def test_steps_of_an_endless_pipeline():
    tf = pytest.importorskip("tensorflow")
    endless = tf.data.Dataset.from_tensor_slices((X, Y)).batch(3).repeat()
    assert len(list(Batches(endless, 7, "the stream"))) == 7
    with pytest.raises(InputError, match=r"repeats for ever: leave out repeat\(\), or give steps_"):
        _ = Batches(endless, None, "the stream").steps
    with pytest.raises(InputError, match="or give validation_steps"):
        _ = Batches(endless, None, "validation_data").steps


@pytest.mark.parametrize(
    ("source", "steps", "message"),
    [
        (lambda: for_ever(), None, "a generator, whose end isn't known: give steps_per_epoch, or"),
        (lambda: make_batches(), 9, "the stream ended after 4 of 9 steps"),
        (lambda: make_batches, 9, "the stream ended after 4 of 9 steps"),
        (lambda: lambda: [], None, "the stream yields nothing"),
        (lambda: make_batches, 0, "steps of the stream must be 1 or more; got 0"),
        (lambda: lambda: [(X, Y, Y, Y)], None, r"must yield \(x, y\) or .*; got 4 parts"),
    ],
    ids=["no end", "short generator", "short function", "nothing", "no steps", "four parts"],
)
def test_what_cannot_be_an_epoch_is_refused(source, steps, message):
    with pytest.raises(InputError, match=message):
        list(Batches(source(), steps, "the stream"))


def test_weights_and_nested_inputs_keep_their_structure():
    def batches():
        yield {"a": X, "b": (Y, Y)}, None, np.ones(10)

    (batch,) = Batches(batches, None, "the stream")
    assert set(batch.x) == {"a", "b"}
    assert batch.y is None
    assert len(batch.as_fit()) == 3


def test_a_stream_has_its_own_batches():
    stream = Stream(train=Batches(Sliced(), None, "the stream"))
    assert stream.steps(64) == 4
    assert list(stream.test_batches(64)) == []
    assert stream.test_steps(64) == 0
    np.testing.assert_array_equal(stream.representative(4), X[:4])


@pytest.mark.parametrize("value", [X, [X, Y], (X, Y), {"a": X}, "text", None])
def test_arrays_are_no_streams(value):
    assert not is_stream(value)
