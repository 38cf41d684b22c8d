"""Makes Keras models small and fast for real, and proves it on the `.tflite` file."""

__version__ = "0.1.0"
