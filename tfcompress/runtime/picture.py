"""Whatever a caller calls an image, as the pixels that a file takes."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

from tfcompress.errors import InputError, require

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def pixels(image: Any, height: int, width: int, channels: int) -> np.ndarray:
    """An image as it would be in training: RGB or grey, cropped to the shape and resized.

    Args:
        image: the path of an image file, a Pillow image, or uint8 of shape (h, w), (h, w, 1),
            (h, w, 3) or (h, w, 4).
        height: of the result.
        width: of the result.
        channels: 3 for RGB or 1 for grey.

    Returns:
        uint8, (height, width, channels).

    Raises:
        InputError: it is no image, or one that can't be read.
    """
    import numpy as np
    from PIL import Image, ImageOps

    from tfcompress import images

    if isinstance(image, (str, os.PathLike)):
        path = pathlib.Path(image)
        images.read_size(path)  # Refuses what is too large to decode.
        try:
            with Image.open(path) as file:
                rgb = images.to_rgb(ImageOps.exif_transpose(file))
        except Exception as error:  # Pillow's decoders raise whatever they run into.
            raise images.unreadable(path, error) from error
    elif isinstance(image, Image.Image):
        try:
            rgb = images.to_rgb(image)
        except InputError as error:
            raise InputError(f"the image {error}") from error
        except Exception as error:
            raise InputError(f"the image can't be read ({images.one_line(error)})") from error
    else:
        rgb = images.to_rgb(_of_array(np.asarray(image)))
    require(min(rgb.size) > 0, f"the image has {rgb.width} x {rgb.height} pixels: there are none")
    if height == width:
        form = images.standard_for([(rgb.height, rgb.width)], height, height)
        fitted = images.standardize(rgb, form)
    else:
        fitted = np.asarray(ImageOps.fit(rgb, (width, height), Image.Resampling.BILINEAR))
    if channels == 3:
        return fitted
    return np.asarray(Image.fromarray(fitted).convert("L"))[..., None]


def _of_array(image: np.ndarray) -> Image.Image:
    """An array as a Pillow image."""
    import numpy as np
    from PIL import Image

    right = image.dtype == np.uint8 and (
        image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    )
    require(
        right,
        "an image is a file, a Pillow image, or uint8 of shape (h, w), (h, w, 1), (h, w, 3) or "
        f"(h, w, 4); got {image.dtype} of shape {image.shape}",
    )
    require(image.size > 0, f"the image has the shape {image.shape}: there are no pixels")
    return Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
