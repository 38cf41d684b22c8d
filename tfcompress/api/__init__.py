"""The functions that Keras users call: `tfcompress.transform`, `compress`, `prepare`."""

from tfcompress.api.compression import (
    check_can_train,
    check_fit,
    compress,
    teacher_of,
    training_objective,
)
from tfcompress.api.preparation import callbacks, finish, prepare
from tfcompress.api.transformation import transform

__all__ = [
    "callbacks",
    "check_can_train",
    "check_fit",
    "compress",
    "finish",
    "prepare",
    "teacher_of",
    "training_objective",
    "transform",
]
