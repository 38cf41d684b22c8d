"""The hyper-parameters and recipes that the binary techniques share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of, require
from tfcompress.options import searched
from tfcompress.techniques.base import distilled

Recipe = Literal["default", "paper"]
Activation = Literal["prelu", "relu", "linear", "keep"]
Init = Literal["float", "scratch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightOptions:
    """Hyper-parameters of binary layers whose blocks keep their order; None is as the recipe says.

    Attributes:
        recipe: `default` (Adam 2e-3 with cosine decay, from the float weights, distilled from
            them) or `paper` (Rassadin and Savchenko 2017: SGD with momentum 0.9 at a fixed rate of
            0.001, from scratch; 10 epochs here, 100 there).
        init: latent weights from the trained `float` baseline or from `scratch`.
        clip_value: where the straight-through gradients stop (Hubara et al. 2016,
            arXiv:1602.02830, section 1.3).
    """

    recipe: Recipe = "default"
    init: Init | None = None
    clip_value: float = 1.0

    def __post_init__(self) -> None:
        """Refuses unknown words."""
        self._check_recipe()
        if self.init is not None:
            one_of("option init", self.init, get_args(Init))
        require(self.clip_value > 0, f"option clip_value must be positive; got {self.clip_value}")

    def _check_recipe(self) -> None:
        one_of("option recipe", self.recipe, get_args(Recipe))

    @property
    def block_activation(self) -> str:
        """The activation behind the binary layers: the network's own."""
        return "keep"

    @property
    def binary_weights(self) -> bool:
        """Says whether a technique that takes the signs of weights does so in this round."""
        return True

    @property
    def keep_weights(self) -> bool:
        """Says whether training starts from the float baseline's weights."""
        return (self.init or ("scratch" if self.recipe == "paper" else "float")) == "float"


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputOptions(WeightOptions):
    """Hyper-parameters of binary layers with binary inputs; None is as the recipe says.

    Attributes:
        activation: behind the binary convolutions: `prelu` (the default recipe's; Bulat and
            Tzimiropoulos 2019, arXiv:1909.13863), `relu` (the paper recipe's), `linear`, or `keep`
            for the network's own.
    """

    activation: Activation | None = None

    def __post_init__(self) -> None:
        """Refuses unknown words."""
        super().__post_init__()
        if self.activation is not None:
            one_of("option activation", self.activation, get_args(Activation))

    @property
    def block_activation(self) -> str:
        """The activation behind the binary layers."""
        return self.activation or ("relu" if self.recipe == "paper" else "prelu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EndOptions(InputOptions):
    """Hyper-parameters of networks with binary inputs and weights; None is as the recipe says.

    Attributes:
        end_bits: of the weights of the first and the last layer: 32 leaves them as they are. 8
            rounds them in training, with trained steps, and the first convolution's inputs to the
            256 values of a pixel: the 1-bit kernels then compute with the image's bytes.
        activation_bits: of the binary layers' inputs: 1 for signs, or 2 for four levels with a
            trained step (LSQ: Esser et al. 2020, arXiv:1902.08153), which the 1-bit kernels
            multiply as two bits.
        recu: whether training clips a filter's latent weights after each step to their 15% and 85%
            quantiles, at its end to 1% and 99% (ReCU: Xu et al. 2021, arXiv:2103.12369), so that
            those far from 0 can change their sign again.
    """

    end_bits: int = searched(32, 8, 32)
    activation_bits: int = 1
    recu: bool = False

    def __post_init__(self) -> None:
        """Refuses unknown words and numbers."""
        super().__post_init__()
        require(self.end_bits in (8, 32), f"option end_bits must be 8 or 32; got {self.end_bits}")
        require(
            self.activation_bits in (1, 2),
            f"option activation_bits must be 1 or 2; got {self.activation_bits}",
        )


def training(epochs: int) -> Callable[[WeightOptions], Training]:
    """Makes a technique's `training` by recipe; `epochs` are the default recipe's."""

    def settings(options: WeightOptions) -> Training:
        if options.recipe == "paper":
            return Training(
                epochs=10,
                optimizer="sgd",
                learning_rate=1e-3,
                learning_rate_schedule="constant",
            )
        return distilled(epochs=epochs)(options)

    return settings
