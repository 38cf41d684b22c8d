"""From a `.tflite` file to predictions: what a deployed program needs, without Keras or TensorFlow.

`LiteModel` runs a file, `read` says what stands in it.
"""

from tfcompress.runtime.content import FileContent, Op, Tensor, read
from tfcompress.runtime.model import LiteModel

__all__ = ["FileContent", "LiteModel", "Op", "Tensor", "read"]
