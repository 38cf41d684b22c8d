"""From a `.tflite` file to predictions: what a deployed program needs, without Keras or TensorFlow.

`load` returns what takes images where the file classifies them, else what takes arrays.
"""

from tfcompress.deprecated import moved
from tfcompress.runtime.model import LiteModel
from tfcompress.runtime.predictor import Prediction, Predictor, load
from tfcompress.tflite.metadata import Metadata

__all__ = ["LiteModel", "Metadata", "Prediction", "Predictor", "load"]

__getattr__ = moved(
    __name__,
    {name: f"tfcompress.tflite.content.{name}" for name in ("FileContent", "Op", "Tensor", "read")},
)
