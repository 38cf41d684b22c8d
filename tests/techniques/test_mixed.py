"""The fewest bits that keep the accuracy; what such techniques share: test_quantise.py."""

import dataclasses

import numpy as np
import pytest

from tests.techniques.counts import PLAIN
from tfcompress import techniques
from tfcompress.errors import InputError
from tfcompress.export import Validation
from tfcompress.training import TrainingContext

PARAMETERS = PLAIN


def test_validates_on_training_images_that_the_seed_chooses(small, data):
    technique = techniques.get("mixed")
    options = technique.make_options(validation_images=20, max_drop=2.0, bits="8,4,2", price="time")
    candidate, rows = technique.fit(
        techniques.Candidate(small()),
        options,
        data,
        technique.training(options),
        TrainingContext(seed=3),
    )
    assert rows == []
    held = Validation(**candidate.validation)
    assert (len(held.images), len(held.labels), held.max_drop) == (20, 20, 2.0)
    assert (held.bits, held.price) == ((8, 4, 2), "time")
    everything = data.normalization(data.train.images.batch(np.arange(len(data.train))))
    for image, label in zip(held.images, held.labels, strict=True):
        (same,) = np.flatnonzero((everything == image).all(axis=(1, 2, 3)))
        assert data.train.labels[same] == label
    other, _ = technique.fit(
        techniques.Candidate(small()),
        options,
        data,
        technique.training(options),
        TrainingContext(seed=4),
    )
    assert not np.array_equal(other.validation["labels"], held.labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -1.0}, "option max_drop must be 0 or more"),
        ({"validation_images": 0}, "option validation_images must be 1 or more"),
        ({"bits": "8,4,2,ternary"}, "not ternary: 2 bits hold ternary filters"),
        ({"bits": (8, 1)}, "not 1: a file of integers has no .*1bit"),
        ({"bits": ("8", "pq")}, "not pq: a file of integers has no product with codebooks"),
        ({"bits": (4, 2)}, "option bits takes 8 and one or more of 4, 2; got"),
        ({"price": "money"}, "option price .* one of bytes, time; got 'money'"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        techniques.get("mixed").make_options(**options)


def test_the_reason_names_the_unit_of_shares_and_of_errors(small):
    technique = techniques.get("mixed")
    options = technique.make_options(max_drop=2.0)
    (line, *_) = technique.transform(techniques.Candidate(small()), options).layers
    assert line.reason.endswith("accuracy at most 2 points, an error 2% worse")


def test_candidates_without_it_choose_nothing(small):
    assert dict(techniques.Candidate(small()).validation) == {}
    assert dataclasses.replace(techniques.Candidate(small())).validation == {}


@pytest.mark.parametrize("first", ["lsq", "ternary"])
def test_what_was_trained_for_few_values_may_stand_before_it(first):
    assert [each.name for each in techniques.chain(f"{first}+mixed")] == [first, "mixed"]
    with pytest.raises(InputError, match=f"mixed rounds as the file .*'{first}[+]mixed' works"):
        techniques.chain(f"mixed+{first}")
    with pytest.raises(InputError, match=f"int8 can't follow {first}"):
        techniques.chain(f"{first}+int8")


def test_codebooks_and_signs_may_not():
    for first in ("pq", "bwn"):
        with pytest.raises(InputError, match=f"mixed can't follow {first}: .* written as"):
            techniques.chain(f"{first}+mixed")
