"""Says by which number a model is judged, which way is better, and how changes are told."""

from __future__ import annotations

import dataclasses

from tfcompress.errors import require

_DIRECTIONS = {"max": True, "min": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """Names the number that a model is judged by.

    Attributes:
        name: as Keras has it: `accuracy`, `mae` or, where there are several outputs, `price_mae`.
        higher_is_better: whether the larger of two values is the better one.
        share: whether values lie in 0..1 as accuracies do. Their changes are told in percentage
            points, those of other metrics in percent of the value before.
    """

    name: str = "accuracy"
    higher_is_better: bool = True
    share: bool = True

    def text(self, value: float | None) -> str:
        """Writes a value.

        >>> Metric().text(0.9145), Metric(name="mae", share=False).text(12.34567)
        ('0.9145', '12.35')
        """
        if value is None:
            return "-"
        return f"{value:.4f}" if self.share else _number(value)

    def change(self, before: float, after: float) -> float | None:
        """Returns a change in points or in percent; None where percent of 0 would be meant.

        >>> Metric().change(0.9145, 0.9085), Metric(name="mae", share=False).change(2.0, 2.5)
        (-0.6, 25.0)
        """
        if self.share:
            # Rounded, for 0.9085 - 0.9145 is -0.0060000000000000053 in binary.
            return round(100 * (after - before), 9)
        return round(100 * (after - before) / abs(before), 9) if before else None

    def change_text(self, before: float | None, after: float | None) -> str:
        """Writes a change with its sign and unit.

        >>> Metric().change_text(0.9145, 0.9085), Metric(share=False).change_text(2.0, 2.5)
        ('-0.60 points', '+25.00%')
        """
        if before is None or after is None:
            return "-"
        change = self.change(before, after)
        if change is None:
            return f"{after - before:+.4g}" if after != before else "unchanged"
        return "unchanged" if change == 0 else f"{change:+.2f}{self.unit}"

    @property
    def axis(self) -> str:
        """What stands beside the axis of a picture: shares are drawn in percent."""
        return f"{self.name}, %" if self.share else self.name

    def drawn(self, value: float) -> float:
        """Returns the number that a picture shows for a value."""
        return 100 * value if self.share else value

    def axis_text(self, value: float, space: str = "") -> str:
        """Writes a value as pictures do: shares in percent, `space` and its sign behind them."""
        if not self.share:
            return self.text(value)
        return f"{100 * value:.2f}{space}{'%' * bool(space)}"

    @property
    def unit(self) -> str:
        """What follows the number of a change."""
        return " points" if self.share else "%"

    def loss(self, before: float, after: float) -> float:
        """Returns by how much a value got worse, in points or percent; below 0 if it got better."""
        change = self.change(before, after)
        if change is None:
            change = 0.0 if after == before else float("inf") * (after - before)
        return -change if self.higher_is_better else change


# What classifiers are judged by.
ACCURACY = Metric()


def parse(text: str) -> tuple[str, bool | None]:
    """Returns the name and direction of a metric that a user asks for.

    Args:
        text: `NAME`, `NAME:max` (higher is better) or `NAME:min`.

    Raises:
        InputError: it is written otherwise.

    >>> parse("mae"), parse("my_score:max")
    (('mae', None), ('my_score', True))
    """
    name, colon, direction = text.strip().partition(":")
    require(
        bool(name) and (direction in _DIRECTIONS or not colon),
        "metric is a name of Keras's or of the model's, such as mae or iou; where it isn't known "
        f"which way is better, NAME:max or NAME:min; got '{text}'",
    )
    return name, _DIRECTIONS.get(direction)


def _number(value: float) -> str:
    """Writes a number with four significant digits, in exponents only if it is very far from 1."""
    size = abs(value)
    if 1e4 <= size < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"
