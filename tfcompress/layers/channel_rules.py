"""Says where a layer's weights hold the channels that it takes and gives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

# The word for the channels that a layer takes.
TAKEN = "taken"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChannelRules:
    """Says which axes of a layer's weights hold which channels, so that some can be cut out.

    Channels are named by words: `"taken"` for those of the layer's one input (its last axis), and
    words of the layer's own, such as `"filters"`, for those that it makes. An axis that is m times
    as long as the channels it holds has m entries side by side for each of them, as a depthwise
    convolution with a depth multiplier has.

    Attributes:
        weights: from the path of a weight, such as `"kernel"` or `"pointwise.kernel"`, to one word
            for each of its axes, or None for an axis that holds no channels. A path that leads to
            no weight is left out.
        outputs: the words whose channels stand side by side in the output's last axis.
        sizes: from keys of the layer's configuration to the words whose number they give.
        fixed: why no channel that the layer takes can be cut out; None if they can.
    """

    weights: Mapping[str, tuple[str | None, ...]]
    outputs: tuple[str, ...]
    sizes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fixed: str | None = None


def of_kernel(made: str, *, taps: int = 2) -> ChannelRules:
    """Returns the rules of a layer with one kernel, as a convolution or a dense layer has it.

    Args:
        made: the word for the channels made, which is also the key of their number.
        taps: how many axes of the kernel stand before the channels taken and made.
    """
    return ChannelRules(
        weights={"kernel": (*[None] * taps, TAKEN, made), "bias": (made,)},
        outputs=(made,),
        sizes={made: made},
    )


def of_product(first: str, last: str, made: str, *, taps: int = 2) -> ChannelRules:
    """Returns the rules of a layer whose kernel is a product of factors.

    Args:
        first: the weight of the factor that takes the channels, on its last axis but one.
        last: the weight of the factor that makes the channels, on its last axis.
        made: the word for the channels made, which is also the key of their number.
        taps: how many axes stand before these two.
    """
    before = (None,) * taps
    return ChannelRules(
        weights={
            first: (*before, TAKEN, None),
            last: (*before, None, made),
            "bias": (made,),
        },
        outputs=(made,),
        sizes={made: made},
    )


def of_signs(made: str, *, taps: int = 2) -> ChannelRules:
    """Returns the rules of a layer with a binary kernel: what it takes can't be cut.

    Args:
        made: as `of_product` has it.
        taps: likewise.
    """
    return ChannelRules(
        weights={"kernel": (None,) * (taps + 1) + (made,), "bias": (made,)},
        outputs=(made,),
        sizes={made: made},
        fixed="signs have no 0, and the scale of each filter is the mean of all its weights",
    )


def of_norms(words: Mapping[str, str]) -> dict[str, tuple[str]]:
    """Returns where batch normalisations hold their channels, as `ChannelRules.weights` has it.

    Args:
        words: from the path of a `BatchNormalization` to the word for its channels.
    """
    return {
        f"{path}.{weight}": (word,)
        for path, word in words.items()
        for weight in ("gamma", "beta", "moving_mean", "moving_variance")
    }
