"""The locks of `tfcompress.turns`, which runs of the command take, too."""

from tfcompress.turns import Turns

__all__ = ["Turns"]
