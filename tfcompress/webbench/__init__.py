"""Times `.tflite` files in any browser, a phone's too, by one page that needs nothing else."""

from tfcompress.deprecated import moved
from tfcompress.webbench.page import make_page

__all__ = ["make_page"]

__getattr__ = moved(__name__, {"make": "tfcompress.webbench.page.make_page"})
