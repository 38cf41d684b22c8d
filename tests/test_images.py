import os
import struct
import subprocess
import sys
import threading
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from tfcompress import images
from tfcompress.errors import InputError
from tfcompress.images import Standard, standard_for


def resized(image, box, height, width):
    """The part of an image in a box, resized by a triangle filter as wide as a new pixel."""

    def along_rows(values, start, end, count):
        scale = (end - start) / count
        rows = []
        for row in range(count):
            centre = start + (row + 0.5) * scale
            distances = np.abs(np.arange(len(values)) + 0.5 - centre) / max(scale, 1)
            weights = np.maximum(0, 1 - distances)
            rows.append(np.tensordot(weights / weights.sum(), values, 1))
        return np.stack(rows)

    left, top, right, bottom = box
    rows = along_rows(image.astype(float), top, bottom, height)
    return along_rows(rows.swapaxes(0, 1), left, right, width).swapaxes(0, 1)


@pytest.mark.parametrize(
    ("sizes", "image_size", "expected"),
    [
        ([(28, 28)], None, Standard(32, pad=True)),
        ([(31, 31)], None, Standard(32, pad=True)),
        ([(27, 27)], None, Standard(32)),
        ([(32, 32)], None, Standard(32)),
        ([(64, 64)], None, Standard(64)),
        ([(65, 65)], None, Standard(40)),
        ([(28, 20)], None, Standard(32)),
        ([(64, 48)], None, Standard(32)),
        ([(64, 80)], None, Standard(40)),
        ([(28, 28), (32, 32)], None, Standard(40)),
        ([], None, Standard(40)),
        ([(28, 28)], 32, Standard(32, pad=True)),
        ([(28, 28)], 48, Standard(48)),
        ([(300, 200)], 32, Standard(32)),
    ],
)
def test_size_rule(sizes, image_size, expected):
    assert standard_for(sizes, image_size, fallback_size=40) == expected


@pytest.mark.parametrize(("image_size", "fallback"), [(0, 32), (None, 0), (-3, 32)])
def test_sizes_must_be_positive(image_size, fallback):
    with pytest.raises(InputError, match="image size must be 1 pixel or more"):
        standard_for([(28, 28)], image_size, fallback)


@pytest.mark.parametrize(("side", "low", "high"), [(28, 2, 30), (29, 1, 30), (31, 0, 31)])
def test_padding_keeps_every_pixel(side, low, high):
    grey = np.random.default_rng(0).integers(1, 256, (3, side, side), dtype=np.uint8)
    out = images.standardize_arrays(grey, Standard(32, pad=True))
    assert out.shape == (3, 32, 32, 3)
    for channel in range(3):
        np.testing.assert_array_equal(out[:, low:high, low:high, channel], grey)
    assert out.astype(int).sum() == 3 * grey.astype(int).sum()


def test_arrays_and_pillow_images_come_out_alike():
    rgb = np.random.default_rng(1).integers(0, 256, (2, 50, 70, 3), dtype=np.uint8)
    for standard in (Standard(32), Standard(100)):
        out = images.standardize_arrays(rgb, standard)
        for row in range(2):
            expected = images.standardize(Image.fromarray(rgb[row]), standard)
            np.testing.assert_array_equal(out[row], expected)


def test_images_of_the_right_size_are_not_changed():
    rgb = np.random.default_rng(2).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    assert images.standardize_arrays(rgb, Standard(40)) is rgb
    np.testing.assert_array_equal(images.standardize(Image.fromarray(rgb[0]), Standard(40)), rgb[0])


def test_wide_images_are_cropped_around_the_centre():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert (images.standardize(Image.fromarray(wide), Standard(10)) == 200).all()


@pytest.mark.parametrize("side", [7, 20, 64])
def test_resizing_is_bilinear_and_antialiased(side):
    rgb = np.random.default_rng(3).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    found = images.standardize(Image.fromarray(rgb), Standard(side))
    # The square in the middle; Pillow rounds once for each axis.
    assert np.abs(found - resized(rgb, (5, 0, 35, 30), side, side)).max() <= 1.5


def test_modes_become_rgb():
    grey16 = Image.fromarray(np.full((4, 4), 0xABCD, np.uint16))
    assert images.to_rgb(grey16).getpixel((0, 0)) == (0xAB,) * 3
    assert images.to_rgb(Image.new("L", (4, 4), 7)).getpixel((0, 0)) == (7, 7, 7)
    assert images.to_rgb(Image.new("1", (4, 4), 1)).getpixel((0, 0)) == (255, 255, 255)
    # Half transparent over black is half as bright; wholly transparent is black.
    red, green, blue = images.to_rgb(Image.new("RGBA", (4, 4), (200, 100, 50, 128))).getpixel(
        (0, 0)
    )
    assert (red, green, blue) == (100, 50, 25)
    assert images.to_rgb(Image.new("LA", (4, 4), (90, 0))).getpixel((0, 0)) == (0, 0, 0)
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert images.to_rgb(palette).getpixel((0, 0)) == (10, 20, 30)
    palette.info["transparency"] = 1
    assert images.to_rgb(palette).getpixel((0, 0)) == (0, 0, 0)
    assert images.to_rgb(Image.new("CMYK", (4, 4), (0, 0, 0, 0))).mode == "RGB"


def test_sixteen_bit_png_from_a_file(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((8, 8), 0x1234, np.uint16)).save(path)
    assert (images.decode(path, Standard(8)) == 0x12).all()


@pytest.mark.parametrize("kind", [np.uint16, np.int32])
def test_wide_grey_of_eight_bit_values_is_taken_as_it_is(tmp_path, kind):
    path = tmp_path / "wide.tif"
    values = np.arange(64, dtype=kind).reshape(8, 8) * 4 + 3  # 3 to 255.
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(images.decode(path, Standard(8))[..., 0], values)
    values[0, 0] = 256  # No 8-bit value: now all are of 16 bits.
    Image.fromarray(values).save(path)
    got = images.decode(path, Standard(8))[..., 0]
    assert got[0, 0] == 1
    assert not got.ravel()[1:].any()


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_of_no_known_range_are_refused(tmp_path, value):
    path = tmp_path / "counts.tif"
    Image.fromarray(np.array([[0, value]], np.int32)).save(path)
    low, high = min(0, value), max(0, value)
    with pytest.raises(InputError, match=f"counts.tif holds integers from {low} to {high}, more"):
        images.decode(path, Standard(8))


def test_exif_turns_the_image(tmp_path):
    path = tmp_path / "turned.jpg"
    picture = np.zeros((16, 64, 3), np.uint8)
    picture[:, 24:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned: 64 wide is to be seen as 64 high
    Image.fromarray(picture).save(path, quality=95, exif=exif)
    assert images.read_size(path) == (64, 16)
    upright = images.decode(path, Standard(16))
    # The white stripe, left of the middle, is now above it and spans the width.
    assert upright[4, :].mean() > 200
    assert upright[12, :].mean() < 50


def test_large_jpegs_scale_like_whole_ones(tmp_path):
    path = tmp_path / "large.jpg"
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    Image.fromarray(np.tile(ramp, (512, 1))).save(path, quality=95)
    with Image.open(path) as whole:
        expected = images.standardize(whole, Standard(32)).astype(int)
    assert np.abs(images.decode(path, Standard(32)).astype(int) - expected).max() <= 3


def test_jpegs_are_not_scaled_down_too_far(tmp_path):
    path = tmp_path / "fine.jpg"
    coarse = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(coarse).resize((200, 200), Image.Resampling.NEAREST).save(path, quality=95)
    with Image.open(path) as whole:
        expected = images.standardize(whole, Standard(32)).astype(int)
    # Decoded at an eighth, 25 x 25, it would be off by 19.
    assert np.abs(images.decode(path, Standard(32)).astype(int) - expected).mean() < 10


def test_floating_point_images_are_refused(tmp_path):
    path = tmp_path / "float.tiff"
    Image.fromarray(np.zeros((8, 8), np.float32)).save(path)
    with pytest.raises(InputError, match=r"float\.tiff holds floating-point pixels"):
        images.decode(path, Standard(8))


def test_text_named_png(tmp_path):
    path = tmp_path / "x.png"
    path.write_text("not an image")
    with pytest.raises(InputError, match=r"x\.png is no image that can be read"):
        images.read_size(path)


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "bmp", "tiff", "webp"])
def test_truncated_files(tmp_path, extension):
    path = tmp_path / f"cut.{extension}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"cut\.{extension} (can't be|is no image)") as caught:
        images.decode(path, Standard(32))
    assert "\n" not in str(caught.value)


def test_missing_file_and_broken_link(tmp_path):
    link = tmp_path / "link.png"
    link.symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"link\.png can't be read as an image \(No such file"):
        images.read_size(link)
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"loop\.png can't be read as an image \(Too many levels"):
        images.read_size(loop)


@pytest.mark.parametrize(("limit", "message"), [(3000, "100 x 50 pixels"), (1000, "too large")])
def test_too_many_pixels(tmp_path, monkeypatch, limit, message):
    path = tmp_path / "huge.png"
    Image.new("L", (100, 50)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=rf"huge\.png .*{message}.*scale it down"):
        images.read_size(path)


def test_decode_all_keeps_order_and_names_the_first_bad_file(tmp_path):
    paths = []
    for value in range(150):
        paths.append(tmp_path / f"{value}.png")
        Image.new("L", (4, 4), value).save(paths[-1])
    decoded = [int(image[0, 0, 0]) for image in images.decode_all(paths, Standard(4))]
    assert decoded == list(range(150))
    for bad in (70, 140):
        paths[bad].write_text("")
    with pytest.raises(InputError, match=r"/70\.png"):
        list(images.decode_all(paths, Standard(4)))


def test_postscript_starts_no_program(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("started"))
    path = tmp_path / "x.png"
    path.write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    for read in (images.read_size, lambda path: images.decode(path, Standard(8))):
        with pytest.raises(InputError, match=r"x\.png is no image that can be read \(PNG, JPEG, B"):
            read(path)


@pytest.mark.parametrize("kind", ["ppm", "ico", "pcx", "tga", "im"])
def test_other_formats_arent_decoded(tmp_path, kind):
    path = tmp_path / "x.png"
    Image.new("RGB", (16, 16)).save(path, kind)
    with pytest.raises(InputError, match="is no image that can be read"):
        images.decode(path, Standard(8))


def test_a_jpeg_with_several_pictures(tmp_path):
    """As some telephones write them."""
    path = tmp_path / "x.jpg"
    first = Image.new("RGB", (16, 16), (200, 0, 0))
    first.save(path, "mpo", save_all=True, append_images=[Image.new("RGB", (16, 16))])
    assert images.decode(path, Standard(8))[0, 0, 0] > 190


def test_a_pipe_isnt_waited_for(tmp_path):
    path = tmp_path / "x.png"
    os.mkfifo(path)
    for read in (images.read_size, lambda path: images.decode(path, Standard(8))):
        with pytest.raises(
            InputError, match=r"x\.png is a folder, pipe, socket or device, no file"
        ):
            read(path)


def test_tiles_larger_than_their_image(tmp_path, monkeypatch):
    """libtiff unpacks a tile whole: 250 KB took 240 MB."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = zlib.compress(bytes(64 * 64))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: 64, 323: 64, 325: len(data)}
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = sorted({**tags, 324: start}.items())
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    path = tmp_path / "x.tif"
    path.write_bytes(head + fields + bytes(4) + data)
    with pytest.raises(InputError, match="has 16 x 16 pixels, 4096 with those around it"):
        images.decode(path, Standard(8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4096)
    assert images.decode(path, Standard(8)).shape == (8, 8, 3)


@pytest.mark.parametrize("fitting", [0.5, 1, 2, 3])
def test_no_more_images_are_decoded_at_once_than_fit(tmp_path, monkeypatch, fitting):
    paths = [tmp_path / f"{number}.png" for number in range(8)]
    for path in paths:
        Image.new("RGB", (10, 10)).save(path)
    monkeypatch.setattr(images, "_DECODERS", 4)
    monkeypatch.setattr(images, "_decoding", images._Budget(int(fitting * 9 * 100)))
    lock, changed, now, most = threading.Lock(), threading.Event(), set(), []
    resize = images.standardize_rgb

    def watched(rgb, standard):
        with lock:
            now.add(threading.get_ident())
            most.append(len(now))
        changed.wait(0.02)
        with lock:
            now.discard(threading.get_ident())
        return resize(rgb, standard)

    monkeypatch.setattr(images, "standardize_rgb", watched)
    assert len(list(images.decode_all(paths, Standard(8)))) == 8
    assert max(most) <= max(1, fitting)


@pytest.mark.parametrize(("budget_mb", "most_mb"), [(1024, 360), (1, 150)])
def test_the_memory_of_large_images(tmp_path, budget_mb, most_mb):
    """Four of 9 million pixels: 700 MB when each was copied and nobody waited."""
    paths = [tmp_path / f"{number}.png" for number in range(4)]
    Image.new("RGBA", (3000, 3000), (1, 2, 3, 4)).save(paths[0], compress_level=1)
    for path in paths[1:]:
        path.symlink_to(paths[0])
    code = (
        "import sys\nfrom pathlib import Path\nfrom tfcompress import images\n"
        "from tfcompress.runtime.child import peak_memory_bytes\n"
        "images._DECODERS = 4\nimages._decoding = images._Budget(int(sys.argv[1]) << 20)\n"
        "before = peak_memory_bytes()\n"
        "list(images.decode_all([Path(name) for name in sys.argv[2:]], images.Standard(32)))\n"
        "print((peak_memory_bytes() - before) >> 20)\n"
    )
    command = [sys.executable, "-c", code, str(budget_mb), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < most_mb


def test_bands_are_laid_over_black_as_a_whole_image_is():
    pixels = np.random.default_rng(4).integers(0, 256, (150, 9, 4), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    np.testing.assert_array_equal(images.to_rgb(image), whole.convert("RGB"))
