"""Says the result in one sentence, right whichever way the numbers went."""

from __future__ import annotations

import dataclasses

from tfcompress.report.result import FileResult, RunResult

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
        baseline, and lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images)." Of
        several files it says each in turn, and where it runs.
    """
    sentence = _sentence(result)
    failed = [file.path for file in result.files if file.failed_check is not None]
    if failed:
        sentence += f" Written in spite of the check that it failed: {', '.join(failed)}."
    return sentence


def _sentence(result: RunResult) -> str:
    """Says it in one sentence, whether or not a file failed its check."""
    if not result.files:
        reasons = "; ".join(f"{storage}: {why}" for storage, why in result.unwritten.items())
        return f"The {result.technique} network was not written as a file: {reasons}."
    if len(result.files) == 1:
        file = result.files[0]
        unmeasured = "; its speed was not measured" if file.latency_ratio is None else ""
        costs, accuracy = _costs(result, file), _worth(result, file)
        return f"The {result.technique} file is {costs}, and {accuracy}{unmeasured}."
    first, *others = result.files
    parts = [f"{_where(result, first)}: {_costs(result, first)}, and {_worth(result, first)}"]
    for file in others:
        same = file.accuracy == first.accuracy
        accuracy = f"has the same {result.metric.name}" if same else _worth(result, file)
        parts.append(f"{_where(result, file)}: {_costs(result, file)}, and {accuracy}")
    unmeasured = (
        "" if any(file.latency_ratio for file in result.files) else "; no speed was measured"
    )
    return f"The {result.technique} network, {'; '.join(parts)}{unmeasured}."


def _where(result: RunResult, file: FileResult) -> str:
    """Says where a file runs; just how it is stored, where that tells no two files apart."""
    if not any(file.needs for file in result.files):
        return f"as {file.storage}"
    return f"with {file.needs} ({file.storage})" if file.needs else f"anywhere ({file.storage})"


def _costs(result: RunResult, file: FileResult) -> str:
    """Compares a file's size and speed with the baseline's."""
    size, speed = _size(result, file), _speed(file)
    if speed is None:
        return f"{size.text} {size.link} the baseline"
    joint = "but" if size.good * speed.good < 0 else "and"
    if size.link == speed.link:
        return f"{size.text} {joint} {speed.text} {size.link} the baseline"
    return f"{size.text} {size.link} the baseline {joint} {speed.text}"


def _size(result: RunResult, file: FileResult) -> _Words:
    """Compares a file's size with the baseline's."""
    ratio = file.size_bytes / result.baseline.size_bytes
    if abs(ratio - 1) < SAME:
        return _Words("as large", "as", 0)
    if ratio < 1:
        return _Words(f"{times(1 / ratio)} smaller", "than", 1)
    return _Words(f"{times(ratio)} larger", "than", -1)


def _speed(file: FileResult) -> _Words | None:
    """Compares a file's speed with the baseline's; None if it wasn't measured."""
    ratio = file.latency_ratio
    if ratio is None:
        return None
    low, high = file.latency_ratio_p10, file.latency_ratio_p90
    # A difference that the rounds of one run don't agree on isn't a difference.
    undecided = low is not None and high is not None and low <= 1 <= high
    if undecided or abs(ratio - 1) < SAME:
        return _Words("as fast", "as", 0)
    if ratio < 1:
        return _Words(f"{times(1 / ratio)} faster", "than", 1)
    return _Words(f"{times(ratio)} slower", "than", -1)


def _worth(result: RunResult, file: FileResult) -> str:
    """Says how the metric changed, with both numbers, the number of images and the interval."""
    metric, before, after = result.metric, result.baseline.accuracy, file.accuracy
    change = result.change_of(file)
    images = f" on {result.test_images:,} test {result.examples}" if result.test_images else ""
    numbers = f"{metric.text(before)} -> {metric.text(after)}{images}"
    if after == before:
        return f"kept its {metric.name} ({numbers})"
    if change is None:
        return f"has another {metric.name} ({numbers})"
    if metric.share:
        moved = f"{'gained' if change > 0 else 'lost'} {points(change)} of {metric.name}"
    else:
        better = "better" if metric.loss(before, after) < 0 else "worse"
        way = "higher" if change > 0 else "lower"
        moved = f"its {metric.name} is {percent(change)} {way}, which is {better}"
    if file.interval is None:
        return f"{moved} ({numbers})"
    low, high = file.interval
    bounds = f"95% interval {low:+.1f} to {high:+.1f}{'' if metric.share else '%'}"
    doubt = f": too few {result.examples} to tell it from none" if low <= 0 <= high else ""
    return f"{moved} ({numbers}; {bounds}{doubt})"


def percent(change: float) -> str:
    """Writes a relative change without its sign; with two digits where one would read 0.0.

    >>> percent(-3.21), percent(0.04)
    ('3.2%', '0.04%')
    """
    size = abs(change)
    return f"{size:.1f}%" if size >= 0.095 else f"{size:.2g}%"


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
