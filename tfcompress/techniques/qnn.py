"""Binary weights and activations whose normalisations and scales are powers of two.

In a file the powers of two gain nothing: a batch normalisation is folded into the layer before it
or into a threshold, whatever its factors are, so that the file is `xnor`'s.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tfcompress.techniques._binary import fit_binary, technique
from tfcompress.techniques._recipes import EndOptions
from tfcompress.techniques.base import Candidate

if TYPE_CHECKING:
    from tfcompress.config import Training
    from tfcompress.data.protocol import Data
    from tfcompress.training.context import Row, TrainingContext


@dataclasses.dataclass(frozen=True, kw_only=True)
class QnnOptions(EndOptions):
    """Hyper-parameters of QNN; None is as the recipe says.

    Attributes:
        activation: behind the binary convolutions: None for `linear`, as in the paper, where the
            signs are all that isn't linear; or one of `xnor`'s.
        shift_adamax: whether shift-based AdaMax (arXiv:1609.07061, section 2.5) trains, at the
            power of two next to the recipe's rate, in place of the recipe's optimizer.
    """

    shift_adamax: bool = False

    @property
    def block_activation(self) -> str:
        """The activation behind the binary layers."""
        return self.activation or "linear"


def _fit(
    candidate: Candidate,
    options: QnnOptions,
    data: Data,
    training: Training,
    context: TrainingContext,
) -> tuple[Candidate, list[Row]]:
    """Trains as the binary techniques do, by shift-based AdaMax if that is wanted."""
    if options.shift_adamax:
        context = dataclasses.replace(context, optimizer=_shift_adamax)
    return fit_binary(candidate, options, data, training, context)


def _shift_adamax(training: Training, steps_per_epoch: int) -> Any:
    """Makes the optimizer from a training's settings."""
    from tfcompress.training.optimizers import learning_rate
    from tfcompress.training.shift_optimizers import ShiftAdamax

    decay = training.weight_decay or None
    return ShiftAdamax(learning_rate(training, steps_per_epoch), weight_decay=decay)


TECHNIQUE = technique(
    name="qnn",
    summary="binary weights and activations, normalised and scaled by powers of two",
    reference="Hubara, Courbariaux, Soudry, El-Yaniv, Bengio 2016, arXiv:1609.07061; 2018, JMLR 18",
    options=QnnOptions,
    binarize_inputs=True,
    binarize_kernel=True,
    epochs=20,
    storages=("int8", "xnor"),
    aliases=("quantized_neural_network", "shift_bn"),
    shifts=True,
    fit=_fit,
)
