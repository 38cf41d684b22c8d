"""Converts models between Keras 3 and tf_keras (Keras 2), whose models are all that TFMOT takes."""

from tfcompress.bridge.errors import BridgeError
from tfcompress.bridge.old_files import load_h5
from tfcompress.bridge.to_keras import copy_back, to_keras
from tfcompress.bridge.to_tf_keras import to_tf_keras

__all__ = ["BridgeError", "copy_back", "load_h5", "to_keras", "to_tf_keras"]
