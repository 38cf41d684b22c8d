"""Turns whatever a caller calls an image into the pixels that a file takes."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require
from tfcompress.plain_text import one_line

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def pixels(image: Any, height: int, width: int, channels: int) -> np.ndarray:
    """Returns an image as it would be in training: RGB or grey, cropped and resized or padded.

    Args:
        image: the path of an image file, a Pillow image, or uint8 of shape (h, w), (h, w, 1),
            (h, w, 3) or (h, w, 4).
        height: of the result, in pixels.
        width: of the result, in pixels.
        channels: 3 for RGB or 1 for grey.

    Returns:
        uint8, (height, width, channels).

    Raises:
        InputError: it is no image, or one that can't be read.
    """
    import numpy as np
    from PIL import Image

    from tfcompress import images

    rgb = _rgb(image, max(height, width))
    require(min(rgb.size) > 0, f"the image has {rgb.width} x {rgb.height} pixels: there are none")
    if height == width:
        standard = images.standard_for([(rgb.height, rgb.width)], height, height)
        resized = images.standardize_rgb(rgb, standard)
    else:
        resized = images.fit(rgb, height, width)
    if channels == 3:
        return resized
    return np.asarray(Image.fromarray(resized).convert("L"))[..., None]


def _rgb(image: Any, side: int) -> Image.Image:
    """Reads a file for a longer side of `side` pixels, or converts what is in memory, to RGB."""
    import numpy as np
    from PIL import Image

    from tfcompress import images

    if isinstance(image, (str, os.PathLike)):
        path = pathlib.Path(image)
        images.read_size(path)  # Refuses what is too large to decode.
        return images.decode_rgb(path, side)
    if not isinstance(image, Image.Image):
        image = images.from_array(np.asarray(image))
    try:
        return images.to_rgb(image)
    except InputError as error:
        raise InputError(f"the image {error}") from error
    except Exception as error:  # Pillow's decoders raise whatever they run into.
        raise InputError(f"the image can't be read ({one_line(error)})") from error
