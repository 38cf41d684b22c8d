"""Images, other examples and streams answer the same questions."""

import numpy as np
import pytest

from tfcompress.data.arrays import from_arrays
from tfcompress.data.as_fit import as_fit
from tfcompress.data.description import DescribedData, public_name
from tfcompress.data.examples import Examples
from tfcompress.data.protocol import Batch

X = np.zeros((10, 4, 3), "float32")
WORDS = np.arange(10) % 2
VALUES = np.zeros((10, 2), "float32")


def images():
    return from_arrays((np.zeros((10, 8, 8), np.uint8), WORDS))


KINDS = {
    "images": (images, (8, 8, 3), 2, 2, "8 training and 2 test images, 2 classes, 8x8x3"),
    "classes": (lambda: as_fit((X, WORDS)), (4, 3), 2, 2, "8 training and 2 test examples"),
    "values": (lambda: as_fit((X, VALUES)), (4, 3), 2, 2, "inputs of shape (4, 3)"),
    "one value": (lambda: as_fit((X, VALUES[:, 0])), (4, 3), 1, 2, "8 training"),
    "several": (lambda: as_fit(({"a": X, "b": X}, VALUES)), None, 2, 2, "8 training"),
    "stream": (lambda: as_fit(lambda: [(X, WORDS)] * 3), (4, 3), None, None, "3 training and none"),
}


@pytest.mark.parametrize(
    ("make", "shape", "outputs", "held_out", "line"), KINDS.values(), ids=KINDS
)
def test_what_data_say_of_themselves(make, shape, outputs, held_out, line):
    data = make()
    members = [name for name in vars(DescribedData) if not name.startswith("_")]
    assert "describe" in members
    for name in members:
        getattr(data, name)
    assert (data.input_shape, data.num_outputs, data.test_examples) == (shape, outputs, held_out)
    assert data.describe().startswith(f"{data.name}: ")
    assert line in data.describe()
    assert data.public_name == data.name


def test_a_description_of_ones_own():
    data = Examples(
        train=Batch(X, WORDS),
        name="csv:/home/ann/houses.csv",
        class_names=("a", "b", "c"),
        units="rows",
        details="target price",
    )
    assert data.describe() == "csv:/home/ann/houses.csv: 10 training and 0 test rows, target price"
    assert data.public_name == public_name(data.name) == "csv:houses.csv"
    assert data.num_outputs == 3
