"""Training and evaluation on any Keras backend: progress, seeds, checkpoints, distillation."""

from tfcompress.training.context import TrainingContext
from tfcompress.training.evaluate import accuracy, classified, logits, runner
from tfcompress.training.fit import fit
from tfcompress.training.loop import Stopped, TrainingError

__all__ = [
    "Stopped",
    "TrainingContext",
    "TrainingError",
    "accuracy",
    "classified",
    "fit",
    "logits",
    "runner",
]
