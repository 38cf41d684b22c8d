"""Says the result in one sentence, right whichever way the numbers went."""

from __future__ import annotations

import dataclasses

from tfcompress.report.result import RunResult

# Within this factor a reader would call two numbers the same.
SAME = 0.02


@dataclasses.dataclass(frozen=True)
class _Words:
    """A comparison with the baseline, such as `3.6 times smaller` `than` it.

    Attributes:
        text: how the file is.
        link: the word between that and the baseline.
        good: 1 if it is better, -1 if it is worse, 0 if both are alike.
    """

    text: str
    link: str
    good: int


def headline(result: RunResult) -> str:
    """Says in plain words what became of size, speed and accuracy.

    Returns:
        One sentence, such as "The xnor file is 3.6 times smaller and 2.1 times faster than the
        baseline, and lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images)."
    """
    size, speed = _size(result), _speed(result)
    if speed is None:
        costs = f"{size.text} {size.link} the baseline"
    else:
        joint = "but" if size.good * speed.good < 0 else "and"
        if size.link == speed.link:
            costs = f"{size.text} {joint} {speed.text} {size.link} the baseline"
        else:
            costs = f"{size.text} {size.link} the baseline {joint} {speed.text}"
    unmeasured = "; its speed was not measured" if speed is None else ""
    return f"The {result.technique} file is {costs}, and {_accuracy(result)}{unmeasured}."


def _size(result: RunResult) -> _Words:
    """Compares the file's size with the baseline's."""
    ratio = result.compressed.size_bytes / result.baseline.size_bytes
    if abs(ratio - 1) < SAME:
        return _Words("as large", "as", 0)
    if ratio < 1:
        return _Words(f"{times(1 / ratio)} smaller", "than", 1)
    return _Words(f"{times(ratio)} larger", "than", -1)


def _speed(result: RunResult) -> _Words | None:
    """Compares the file's speed with the baseline's; None if it wasn't measured."""
    ratio = result.latency_ratio
    if ratio is None:
        return None
    low, high = result.latency_ratio_p10, result.latency_ratio_p90
    # A difference that the rounds of one run don't agree on isn't a difference.
    undecided = low is not None and high is not None and low <= 1 <= high
    if undecided or abs(ratio - 1) < SAME:
        return _Words("as fast", "as", 0)
    if ratio < 1:
        return _Words(f"{times(1 / ratio)} faster", "than", 1)
    return _Words(f"{times(ratio)} slower", "than", -1)


def _accuracy(result: RunResult) -> str:
    """Says how the accuracy changed, with both numbers and the number of images."""
    change = result.accuracy_change_points
    before, after = result.baseline.accuracy, result.compressed.accuracy
    images = f" on {result.test_images:,} test images" if result.test_images else ""
    numbers = f"({before:.4f} -> {after:.4f}{images})"
    if change == 0:
        return f"kept its accuracy {numbers}"
    return f"{'gained' if change > 0 else 'lost'} {points(change)} of accuracy {numbers}"


def points(change: float) -> str:
    """Writes percentage points without their sign; with two digits where one would read 0.0.

    >>> points(-0.6), points(0.04), points(-1.0)
    ('0.6 points', '0.04 points', '1.0 points')
    """
    size = abs(change)
    return f"{size:.1f} points" if size >= 0.095 else f"{size:.2g} points"


def times(factor: float) -> str:
    """Writes a factor above 1 in words, with as many digits as make sense.

    >>> times(1.036), times(3.61), times(28.4), times(131.0)
    ('1.04 times', '3.6 times', '28 times', '131 times')
    """
    if factor < 1.195:
        return f"{factor:.2f} times"
    return f"{factor:.1f} times" if factor < 19.95 else f"{factor:,.0f} times"
