"""From a `.tflite` file to predictions: what a deployed program needs, without Keras or TensorFlow.

`load` makes a classifier of a file, `LiteModel` runs a file on arrays, `read` says what stands in
it.
"""

from tfcompress.runtime.content import FileContent, Op, Tensor, read
from tfcompress.runtime.metadata import Metadata
from tfcompress.runtime.model import LiteModel
from tfcompress.runtime.predictor import Prediction, Predictor, load

__all__ = [
    "FileContent",
    "LiteModel",
    "Metadata",
    "Op",
    "Prediction",
    "Predictor",
    "Tensor",
    "load",
    "read",
]
