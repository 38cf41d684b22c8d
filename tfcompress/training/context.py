"""What a training is given besides its model, its data and its recipe."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from tfcompress.config import Training
    from tfcompress.data.protocol import Data
    from tfcompress.training.objective import Objective

# One epoch's numbers by name, as `training.fit` lists them.
Row = dict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingContext:
    """Says from which seed a training runs, who teaches it, where it is kept and who watches it.

    One value is handed on from the command or `tfcompress.compress` to the loop over the epochs.

    Attributes:
        seed: of the order of the images, of augmentation and of dropout.
        teacher: the network that teaches, as the recipe's `distillation` says; None for the labels
            alone.
        transfer: examples to train on in place of the data's own, whose targets and weights are
            never read: all is learned from the teacher. None for the data's own.
        augmentation: one of `config.AUGMENTATIONS` in place of the data set's own; None for that.
        checkpoint: file that holds the state after each epoch; where it exists, the training goes
            on from it. None keeps nothing.
        on_epoch: is called with each epoch's row, those of the checkpoint included.
        on_step: is called after each step with the epoch, the step (both from 1) and the number
            of steps in an epoch.
        tensorboard: folder for TensorBoard's logs; None for no logs.
        objective: what is minimised and judged by; None for what fits the model and the data.
        callbacks: Keras's, called as one `fit` of all epochs would call them.
        class_weight: the weight of each class's examples in the loss, as `fit` takes it.
        devices: how many devices of this machine share each batch, or `all`, as `devices.chosen`
            takes it.
        optimizer: makes the optimizer from the training's settings and the steps of an epoch, for
            techniques that train by none of Keras's; None for the user's own or the settings'.
    """

    seed: int = 0
    teacher: keras.Model | None = None
    transfer: Data | None = None
    augmentation: str | None = None
    checkpoint: Path | None = None
    on_epoch: Callable[[Row], None] | None = None
    on_step: Callable[[int, int, int], None] | None = None
    tensorboard: Path | None = None
    objective: Objective | None = None
    callbacks: Sequence[Any] = ()
    class_weight: Mapping[int, float] | None = None
    devices: int | str = 1
    optimizer: Callable[[Training, int], keras.optimizers.Optimizer] | None = None


# Seed 0, no teacher, no checkpoint, no progress.
DEFAULT_CONTEXT = TrainingContext()
