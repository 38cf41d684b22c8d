"""Transfer sets: what is read or made, brought to the model's inputs, and never the labels."""

import numpy as np
import pytest
from PIL import Image

from tests.data.conftest import random_images
from tfcompress import data
from tfcompress.data.as_fit import as_fit
from tfcompress.data.stores import ArrayImages
from tfcompress.data.transfer.held_out import refuse_test_examples
from tfcompress.data.transfer.kinds import check_name
from tfcompress.data.transfer.mixtures import MixedImages, NoiseImages
from tfcompress.data.transfer.munge import munge
from tfcompress.data.transfer.read import read
from tfcompress.data.transfer.unlabelled import UnlabelledImages, without_targets
from tfcompress.errors import InputError

HOUSES = "rooms,city,price\n" + "\n".join(f"{i},{'AB'[i % 2]},{i * 1.5}" for i in range(20))


@pytest.fixture(scope="module")
def images():
    """Three classes of 6x6 pictures, 30 to train on and 9 to judge by."""
    return data.from_arrays(
        (random_images(30), np.arange(30) % 3), (random_images(9, seed=1), np.arange(9) % 3)
    )


@pytest.fixture
def houses(tmp_path):
    (tmp_path / "houses.csv").write_text(HOUSES)
    return data.load(f"csv:{tmp_path / 'houses.csv'}", options={"target": ("price",)})


def saved(folder, arrays):
    folder.mkdir(exist_ok=True)
    for number, array in enumerate(arrays):
        Image.fromarray(array).save(folder / f"{number}.png")
    return f"folder:{folder}"


def everything(examples):
    return examples.take(np.arange(examples.examples))


def test_a_folder_without_classes_is_read_as_the_model_takes_images(images, tmp_path):
    name = saved(tmp_path / "loose", random_images(4, seed=2))
    same, unlabelled = read(name, images)
    assert same is images
    batch = everything(unlabelled)
    assert batch.as_fit() == (batch.x,)
    np.testing.assert_array_equal(batch.x, images.normalization(random_images(4, seed=2)))
    grey = images.in_grey()
    _, unlabelled = read(name, grey)
    assert everything(unlabelled).x.shape == (4, 6, 6, 1)
    assert unlabelled.normalization == grey.normalization
    assert unlabelled.test is None
    assert list(unlabelled.test_batches(2)) == []


def test_a_folder_of_classes_and_splits_is_read_without_them(images, tmp_path):
    for split, seed in (("train", 3), ("test", 1)):
        for kind in ("a", "b"):
            (tmp_path / split / kind).mkdir(parents=True)
            saved(tmp_path / split / kind, random_images(2, seed=seed + 10 * (kind == "b")))
    _, unlabelled = read(f"folder:{tmp_path}", images)  # Its test/ holds test images.
    assert unlabelled.examples == 4


def test_test_images_are_refused(images, tmp_path):
    stolen = images.test.images.batch(np.array([7, 2]))
    name = saved(tmp_path / "loose", [*random_images(3, seed=2), *stolen])
    with pytest.raises(InputError, match=r"holds 2 of the 9 test .* first is .*/3\.png: take"):
        read(name, images)


def test_a_public_set_keeps_its_own_test_images_out():
    small = data.load("fashion_mnist_small")
    halved, unlabelled = read("half", small)
    assert len(halved.train) == unlabelled.examples == 5000
    positions = np.arange(5000)
    parts = [store.batch(positions) for store in (halved.train.images, unlabelled.images)]
    pixels = [{image.tobytes() for image in part} for part in parts]
    assert not pixels[0] & pixels[1]
    assert np.bincount(halved.train.labels).tolist() == [500] * 10
    assert halved.split.endswith("The labels of one half of the training examples are used, at "
                                 "random.")  # fmt: skip
    # The whole set, its labels left aside: pixels of the model's size are compared.
    with pytest.raises(InputError, match="of the 2,000 test examples"):
        refuse_test_examples(
            UnlabelledImages(
                name="test", images=small.test.images, normalization=small.normalization
            ),
            small,
        )


def test_mixtures_lie_between_their_two_images():
    store = ArrayImages(np.array([0, 200], np.uint8).reshape(2, 1, 1, 1).repeat(3, 3))
    mixed = MixedImages(store, 400, seed=0)
    values = mixed.batch(np.arange(400))[:, 0, 0, 0]
    assert values.min() >= 0
    assert values.max() <= 200
    # A half pairs an image with itself, a half lies evenly between.
    assert 80 < np.sum((values > 0) & (values < 200)) / 2 < 120
    np.testing.assert_array_equal(mixed.batch(np.array([5, 5, 9]))[:, 0, 0, 0], values[[5, 5, 9]])


def test_noise_is_the_same_whenever_it_is_asked_for():
    noise = NoiseImages((4, 4, 1), 50, seed=3)
    all_images = noise.batch(np.arange(50))
    np.testing.assert_array_equal(noise.batch(np.array([9, 3])), all_images[[9, 3]])
    assert 110 < all_images.mean() < 145
    assert (NoiseImages((4, 4, 1), 50, seed=4).batch(np.arange(50)) != all_images).any()


def test_mixup_and_noise_come_as_the_model_takes_images(images):
    for name, count in (("mixup:10", 30), ("noise:12", 12)):
        _, unlabelled = read(name, images, seed=1)
        assert everything(unlabelled).x.shape == (count, 6, 6, 3)
        assert unlabelled.normalization == images.normalization


def test_made_sets_of_other_data(houses):
    halved, unlabelled = read("half", houses)
    assert (halved.examples, unlabelled.examples) == (8, 8)
    assert unlabelled.train.y is None
    assert halved.test is houses.test
    rows = np.concatenate([halved.train.x, unlabelled.train.x])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, houses.train.x))
    for name, count in (("mixup:5", 16), ("noise:7", 7), ("munge:40", 40)):
        x = everything(read(name, houses)[1]).x
        assert (x.shape, x.dtype) == ((count, 3), np.float32)


def test_munge_exchanges_neighbours_attributes():
    rng = np.random.default_rng(0)
    centres = np.repeat([[-5.0, 0], [5.0, 1]], 50, axis=0)
    x = np.c_[centres[:, 0] + rng.normal(size=100), centres[:, 1], 1 - centres[:, 1]]
    made = munge(x.astype("float32"), 250, 0, choices=[slice(1, 3)])
    assert made.shape == (250, 3)
    # Both clusters keep their choice, for neighbours are of one cluster.
    np.testing.assert_array_equal(made[:, 1], made[:, 0] > 0)
    np.testing.assert_array_equal(made[:, 1] + made[:, 2], 1)
    assert abs(np.abs(made[:, 0]).mean() - 5) < 0.3
    new = ~np.isin(made[:, 0], x.astype("float32")[:, 0])
    assert 0.4 < new.mean() < 0.95


def test_a_table_without_targets_is_made_as_the_data_were(houses, tmp_path):
    (tmp_path / "more.csv").write_text("city,note,rooms\nB,x,100\nC,y,7\n")
    options = {"target": ("price",)}
    _, unlabelled = read(f"csv:{tmp_path / 'more.csv'}", houses, options=options)
    rooms, *_ = houses.preparation["columns"]
    scaled = (np.array([100, 7]) - rooms["mean"]) / rooms["std"]
    expected = [[scaled[0], 0, 1], [scaled[1], 0, 0]]
    np.testing.assert_allclose(everything(unlabelled).x, expected, rtol=1e-6)
    with pytest.raises(InputError, match="holds 4 of the 4 test examples"):
        read(houses.name, houses, options=options)


def test_a_stream_loses_its_targets():
    x = np.arange(12, dtype="float32").reshape(12, 1)
    stream = as_fit(lambda: ((x[i : i + 4], x[i : i + 4]) for i in (0, 4, 8)), steps_per_epoch=3)
    inputs = without_targets(stream)
    for _ in range(2):
        assert [batch.as_fit()[0].shape for batch in inputs.train] == [(4, 1)] * 3
        assert all(batch.y is None for batch in inputs.train)
    with pytest.raises(InputError, match=r"holds 2 of the 2 test .* first is its number 5"):
        refuse_test_examples(inputs, as_fit((x, x), (x[[8, 4]], x[[8, 4]])))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mixup", "must be mixup:N, N examples"),
        ("noise:0", "must be noise:N"),
        ("noise:many", "must be noise:N"),
        ("half:2", "must be half$"),
        ("mixup:31", "has 30 examples, take 2 to as many"),
        ("munge:5", "is for tables"),
        ("folder:nowhere", "there is no folder"),
    ],
)
def test_what_no_transfer_set_is(images, name, words):
    with pytest.raises(InputError, match=words):
        _ = check_name(name), read(name, images)


def test_images_need_data_that_say_how_they_are_normalised(houses, tmp_path):
    name = saved(tmp_path / "loose", random_images(2))
    with pytest.raises(InputError, match="doesn't say how images are normalised"):
        read(name, houses)
