"""The old name of `tfcompress.api`."""

from tfcompress.deprecated import moved

__getattr__ = moved(
    __name__, {name: f"tfcompress.api.{name}" for name in ("compress", "transform")}
)
