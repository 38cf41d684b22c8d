"""How like a teacher's a file's predictions are, and whether two files differ by chance."""

import numpy as np
import pytest

from tfcompress.data.protocol import Batch
from tfcompress.pipeline.likeness import Likeness, Teacher, paired_tests
from tfcompress.runtime.accuracy import paired_test
from tfcompress.training.judging import Judgement


def judged(right=None, labels=None):
    return Judgement(value=0.5, metrics={}, per_example=right, labels=labels, examples=4)


def test_labels_that_agree_are_counted():
    teacher = Teacher("baseline", judged(labels=np.array([0, 1, 2, 0])), lambda x: [])
    likeness = Likeness(teacher)
    assert list(likeness.watch([([np.zeros(3)], Batch(None))]))
    assert likeness.found(judged(labels=np.array([0, 1, 1, 1]))) == {"teacher_agreement": 0.5}
    assert Likeness(None).found(judged()) == {}


def test_other_outputs_are_compared_by_their_rms_over_all_batches():
    teacher = Teacher("baseline", judged(), lambda x: [x, 10 * x])
    likeness = Likeness(teacher)
    batches = [np.array([[3.0], [4.0]]), np.array([[0.0], [5.0]])]
    predictions = [([x + 1, 10 * x], Batch(x)) for x in batches]
    assert [outputs for outputs, _ in likeness.watch(predictions)] == [o for o, _ in predictions]
    rms = np.sqrt(4 / (9 + 16 + 25))
    assert likeness.found(judged()) == {"teacher_relative_rms": pytest.approx(rms)}


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    # Sums of binomial coefficients by hand: 2 * (1 + 7) / 2**7, and 2 * (1 + 10 + 45) / 2**10.
    [(6, 1, 2 * (1 + 7) / 2**7), (2, 8, 2 * (1 + 10 + 45) / 2**10), (3, 3, 1.0), (0, 0, 1.0)],
)
def test_mcnemars_exact_test(gained, lost, p_value):
    before = np.array([False] * gained + [True] * lost + [True, False] * 5)
    after = np.array([True] * gained + [False] * lost + [True, False] * 5)
    found = paired_test(before, after)
    assert (found.gained, found.lost) == (gained, lost)
    assert found.p_value == pytest.approx(p_value, rel=1e-12)


def test_files_are_tested_where_each_example_is_right_or_wrong():
    right, wrong = np.ones(4), np.zeros(4)
    assert paired_tests(judged(right), {"baseline": [judged(wrong)], "control": []}) == {
        "against_baseline": {"gained": 4, "lost": 0, "p_value": 0.125}
    }
    for unknown in (None, np.array([0.5, 1, 0, 0])):
        assert paired_tests(judged(right), {"baseline": [judged(unknown)]}) == {}
