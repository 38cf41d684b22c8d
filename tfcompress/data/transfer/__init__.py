"""Transfer sets: unlabelled examples on which a student learns a teacher's answers.

A name is that of a data set, whose labels are never read, or of one that is made: of the run's own
training examples (`half`, `mixup:N`, `munge:N`), of noise (`noise:N`), or of the teacher alone
(`inverted:N`).
"""

from __future__ import annotations

from tfcompress.data.transfer.made import INVERTED, MADE, Made, made
from tfcompress.data.transfer.read import check_name, names, read
from tfcompress.data.transfer.test_examples import refuse_test_examples
from tfcompress.data.transfer.unlabelled import UnlabelledImages, without_targets

__all__ = [
    "INVERTED",
    "MADE",
    "Made",
    "UnlabelledImages",
    "check_name",
    "made",
    "names",
    "read",
    "refuse_test_examples",
    "without_targets",
]
