"""Builds networks of the papers: `build("vgg16", input_shape=(32, 32, 3), num_classes=10)`."""

from tfcompress.models.builders import build, get, names
from tfcompress.models.saved import compile_as_saved, is_file, load

__all__ = ["build", "compile_as_saved", "get", "is_file", "load", "names"]
