"""XNOR-Net: binary weights and binary activations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

from tfcompress.config import Training
from tfcompress.errors import one_of
from tfcompress.techniques._binary import technique
from tfcompress.techniques._recipes import EndOptions
from tfcompress.techniques.base import Candidate, LayerLine, shared

XnorRecipe = Literal["default", "long", "paper"]
# Epochs of the default recipe; the long one has three times as many.
_EPOCHS = 20
_TIMES_LONGER = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class XnorOptions(EndOptions):
    """Hyper-parameters of XNOR-Net; None is as the recipe says.

    Attributes:
        recipe: `default` (Adam 2e-3 with cosine decay, from the float weights, distilled from
            them), `long` (the same for 60 epochs in two halves: in the first one only the inputs
            become signs, in the second one the weights, too; Martinez et al. 2020,
            arXiv:2003.11535) or `paper` (Rassadin and Savchenko 2017: SGD with momentum 0.9 at a
            fixed rate of 0.001, from scratch; 10 epochs here, 100 there).
    """

    recipe: XnorRecipe = "default"  # type: ignore[assignment]  # One word more than the others.

    def _check_recipe(self) -> None:
        one_of("option recipe", self.recipe, get_args(XnorRecipe))


class _SignsOfInputs(XnorOptions):
    """The options as the first half of the long recipe gets them."""

    @property
    def binary_weights(self) -> bool:
        """The weights are floats for now."""
        return False


@dataclasses.dataclass(frozen=True, kw_only=True)
class _SignsOfWeights(XnorOptions):
    """The options as its second half gets them.

    Attributes:
        layers: for the report, what becomes of each layer by both halves.
    """

    layers: tuple[LayerLine, ...]


def _transform(candidate: Candidate, options: XnorOptions) -> Candidate:
    """Makes the layers binary; the second half of the long recipe speaks for the first one, too."""
    changed = _WHOLE.transform(candidate, options)
    if isinstance(options, _SignsOfWeights):
        changed = dataclasses.replace(changed, layers=options.layers)
    return changed


def _training(options: XnorOptions) -> Training:
    """Returns the settings of all epochs."""
    settings = _WHOLE.training(options)
    if options.recipe != "long":
        return settings
    return dataclasses.replace(settings, epochs=_TIMES_LONGER * settings.epochs)


def _rounds(
    candidate: Candidate, options: XnorOptions, settings: Training
) -> Sequence[tuple[XnorOptions, Training]]:
    """Returns one round; of the long recipe one with float weights and one with binary ones."""
    if options.recipe != "long" or settings.epochs < 2:
        return [(options, settings)]
    first, second = shared(settings, 2)
    given = dataclasses.asdict(options)
    # The ends are rounded once, at last; what the first half trained is what the second begins at.
    floats = _SignsOfInputs(**{**given, "end_bits": 32})
    lines = _WHOLE.transform(candidate, options).layers
    signs = _SignsOfWeights(**{**given, "init": "float"}, layers=lines)
    return [(floats, first), (signs, second)]


_WHOLE = technique(
    name="xnor",
    summary="binary weights and binary activations (XNOR-Net)",
    reference="Rastegari, Ordonez, Redmon, Farhadi 2016, arXiv:1603.05279",
    options=XnorOptions,
    binarize_inputs=True,
    binarize_kernel=True,
    epochs=_EPOCHS,
    # Integers for any runtime; bits where our kernels run them.
    storages=("int8", "xnor"),
    aliases=("xnor_net",),
)
TECHNIQUE = dataclasses.replace(_WHOLE, transform=_transform, training=_training, rounds=_rounds)
