"""Times `.tflite` files in anybody's browser, a phone's too: one page that needs nothing else."""

from tfcompress.webbench.page import make

__all__ = ["make"]
