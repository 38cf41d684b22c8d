"""Distillation: a student learns from what teachers give; works on Keras's `keras.distillation`."""

from tfcompress.training.distill.distiller import Distiller
from tfcompress.training.distill.features import AttentionTransfer, Hint
from tfcompress.training.distill.losses import DKD, KD, Labels, Logits, Softmax, divergence

__all__ = [
    "DKD",
    "KD",
    "AttentionTransfer",
    "Distiller",
    "Hint",
    "Labels",
    "Logits",
    "Softmax",
    "divergence",
]
