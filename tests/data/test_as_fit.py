"""What Keras's `fit` takes becomes data to train on and to judge by."""

import numpy as np
import pytest

from tfcompress.data.as_fit import as_fit
from tfcompress.data.examples import Examples
from tfcompress.data.pipelines import Stream
from tfcompress.errors import InputError

X = np.random.default_rng(0).normal(size=(50, 4))
Y = np.arange(50) % 5


def everything(data):
    """All inputs, training and held-out, in an order of their own."""
    return np.sort(np.concatenate([data.train.x, data.test.x]).sum(-1))


def test_without_held_out_examples_a_fifth_of_each_class_is():
    data = as_fit((X, Y))
    assert (data.examples, len(data.test.x)) == (40, 10)
    assert np.bincount(data.test.y).tolist() == [2] * 5
    np.testing.assert_allclose(everything(data), np.sort(X.astype("float32").sum(-1)))
    again = as_fit((X, Y))
    np.testing.assert_array_equal(again.test.x, data.test.x)


@pytest.mark.parametrize(
    "targets", [X, X[:, 0], np.arange(50), np.zeros(50, int)], ids=["2d", "floats", "ids", "one"]
)
def test_targets_that_are_no_classes_are_split_at_random(targets):
    data = as_fit((X, targets))
    assert (data.examples, len(data.test.x)) == (40, 10)


def test_pairs_are_training_and_held_out_data():
    for pair in [((X, Y), (X[:7], Y[:7])), [(X, Y), (X[:7], Y[:7])], ([X, Y], [X[:7], Y[:7]])]:
        data = as_fit(pair)
        assert (data.examples, len(data.test.x)) == (50, 7)
    given = as_fit((X, Y), (X[:7], Y[:7]))
    assert (given.examples, len(given.test.x)) == (50, 7)


def test_of_several_inputs_a_tuple_is_x():
    data = as_fit(((X, X[:, 0]), (Y, Y)), inputs=2, outputs=2)
    assert len(data.train.x) == len(data.train.y) == 2
    nested = as_fit((((X, X), Y), ((X[:7], X[:7]), Y[:7])), inputs=2)
    assert (nested.examples, len(nested.test.y)) == (50, 7)


def test_plain_lists_are_arrays_of_a_model_with_one_input():
    data = as_fit((X.tolist(), Y.tolist()))
    assert data.examples == 40
    assert data.train.x.dtype == np.float32
    assert as_fit(X.tolist()).train.y is None


def test_weights_of_the_examples_go_with_them():
    data = as_fit((X, Y, Y * 2.0))
    batch = data.take(np.array([3, 1]))
    np.testing.assert_array_equal(batch.sample_weight, batch.y * 2)
    assert len(batch.as_fit()) == 3


def test_streams_beside_arrays():
    def batches():
        yield X[:25], Y[:25]
        yield X[25:], Y[25:]

    stream = as_fit(batches, (X, Y))
    assert isinstance(stream, Stream)
    assert sum(len(batch.x) for batch in stream.test_batches(64)) == 50
    arrays = as_fit((X, Y), batches)
    assert isinstance(arrays, Examples)
    np.testing.assert_array_equal(arrays.test.y, Y)
    assert isinstance(as_fit((batches, batches)), Stream)
    assert as_fit(batches).test is None


def test_single_examples_of_a_pipeline_are_batched():
    tf = pytest.importorskip("tensorflow")
    pipeline = tf.data.Dataset.from_tensor_slices((X, Y))
    data = as_fit(pipeline, rank=2, batch_size=20)
    assert [len(batch.y) for batch in data.train] == [20, 20, 10]
    batched = as_fit(pipeline.batch(7), rank=2, batch_size=20)
    assert len(next(iter(batched.train)).y) == 7


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("net.npz", "data must be .* as fit takes them; got str"),
        (None, "as fit takes them; got NoneType"),
        ((X, Y, Y, Y), "as fit takes them; got 4 parts"),
        ((X, Y[:7]), "the training data have 50 inputs, 7 targets: each example needs one of each"),
        (({"a": X, "b": X[:7]}, Y), "training inputs has arrays of 7 and 50 examples"),
        ((np.zeros((0, 4)), Y), r"x of data has no examples: its shape is \(0, 4\)"),
        ((X, np.array([object()] * 50)), "y of data must be an array of numbers or text"),
        (([[1, 2], [3]], Y), "x of data can't be read as one array"),
        ((X[:1], Y[:1]), "has 1 example: give others to judge by as validation_data"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(data, message):
    with pytest.raises(InputError, match=message):
        as_fit(data)


def test_steps_are_for_streams():
    with pytest.raises(InputError, match="steps_per_epoch is for streams"):
        as_fit((X, Y), steps_per_epoch=3)
