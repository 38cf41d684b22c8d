"""Training and evaluation on any Keras backend: progress, seeds, checkpoints, distillation."""

from tfcompress.training.evaluate import accuracy, logits, runner
from tfcompress.training.fit import Stopped, TrainingError, fit

__all__ = ["Stopped", "TrainingError", "accuracy", "fit", "logits", "runner"]
