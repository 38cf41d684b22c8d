import os

import numpy as np
import pytest

from tests.data.conftest import check_normalization
from tfcompress import data
from tfcompress.errors import InputError

USAGES = ("Training", "PublicTest", "PrivateTest")


def row(label, pixels, usage):
    return f"{label},{' '.join(map(str, pixels))},{usage}"


@pytest.fixture
def rows():
    """14 training rows, two a class, and 7 of each test usage; with their pixels."""
    generator = np.random.default_rng(0)
    found = []
    for usage, count in zip(USAGES, (14, 7, 7), strict=True):
        for index in range(count):
            found.append((index % 7, generator.integers(0, 256, 48 * 48), usage))
    return found


def load(path, **arguments):
    return data.load(f"fer2013:{path}", **arguments)


def write(path, lines, header="emotion,pixels,Usage"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_reads_every_pixel(tmp_path, rows):
    shuffled = [rows[at] for at in np.random.default_rng(1).permutation(len(rows))]
    path = write(tmp_path / "faces.csv", [row(*parts) for parts in shuffled])
    loaded = data.load(f"fer2013:{path}")
    assert loaded.class_names[0] == "angry"
    assert loaded.class_names[6] == "neutral"
    assert loaded.image_shape == (48, 48, 3)
    for part, usages in ((loaded.train, USAGES[:1]), (loaded.test, USAGES[1:])):
        expected = [parts for parts in shuffled if parts[2] in usages]
        assert part.labels.tolist() == [label for label, _, _ in expected]
        images = part.images.batch(np.arange(len(part)))
        for image, (_, pixels, _) in zip(images, expected, strict=True):
            for channel in range(3):
                np.testing.assert_array_equal(image[..., channel].ravel(), pixels)


def test_folder_quotes_blank_lines_and_byte_order_mark(tmp_path, rows):
    lines = [f'{label},"{" ".join(map(str, pixels))}",{usage}' for label, pixels, usage in rows]
    text = "\r\n".join(["emotion,pixels,Usage", *lines, "", ""])
    (tmp_path / "fer2013.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    loaded = load(tmp_path)
    assert (len(loaded.train), len(loaded.test)) == (14, 14)


def test_normalised_by_the_training_images(tmp_path, rows):
    lines = [
        row(label, pixels // (1 if usage == "Training" else 2), usage)
        for label, pixels, usage in rows
    ]
    check_normalization(load(write(tmp_path / "f.csv", lines)))


def test_another_size(tmp_path, rows):
    path = write(tmp_path / "f.csv", [row(*parts) for parts in rows])
    assert load(path, image_size=24).image_shape == (24, 24, 3)


GOOD = row(0, [7] * 2304, "Training")


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(0, [7] * 2303, "Training"), "2304 pixels; got 2303"),
        (row(0, [7] * 2305, "Training"), "2304 pixels; got 2305"),
        (row(0, [7] * 2303 + [256], "Training"), r"in 0\.\.255; got '256'"),
        (row(0, [7] * 2303 + [-1], "Training"), r"in 0\.\.255; got '-1'"),
        (row(0, [7] * 2303 + ["7.5"], "Training"), r"in 0\.\.255; got '7\.5'"),
        (row(0, [7] * 2303 + ["9" * 5000], "Training"), r"in 0\.\.255; got '9{40}'"),
        (row(0, [7] * 2303 + ["²"], "Training"), r"in 0\.\.255; got '²'"),
        (row(7, [7] * 2304, "Training"), r"emotion must be in 0\.\.6; got '7'"),
        (row("", [7] * 2304, "Training"), r"emotion must be in 0\.\.6; got ''"),
        (row(0, [7] * 2304, "Test"), "Usage must be one of .*; got 'Test'"),
        (row(0, [7] * 2304, "Training,x"), "3 columns; got 4"),
        ("0,7 7 7", "3 columns; got 2"),
    ],
)
def test_wrong_rows_are_named_by_line(tmp_path, bad, message):
    path = write(tmp_path / "f.csv", [GOOD, bad, GOOD])
    with pytest.raises(InputError, match=rf"f\.csv line 3: .*{message}") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_wrong_header(tmp_path):
    path = write(tmp_path / "f.csv", [GOOD], header="emotion,Usage,pixels")
    with pytest.raises(InputError, match=r"line 1: the header must be emotion,pixels,Usage; got"):
        load(path)
    path.write_text("")
    with pytest.raises(InputError, match="line 1: the header"):
        load(path)


def test_missing_parts(tmp_path):
    path = write(tmp_path / "f.csv", [GOOD])
    with pytest.raises(InputError, match=r"no test rows \(Usage PublicTest or PrivateTest\)"):
        load(path)
    lines = [GOOD, row(0, [7] * 2304, "PublicTest")]
    with pytest.raises(InputError, match="no training image of class 'disgust'"):
        load(write(path, lines))


def test_files_that_are_no_text(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(b"emotion,pixels,Usage\n\xff\xfe\xff")
    with pytest.raises(InputError, match=r"f\.csv can't be read after line 1"):
        load(path)
    write(path, [GOOD, "0," + "7" * 200_000 + ",Training"])
    with pytest.raises(InputError, match=r"f\.csv can't be read after line 2: field larger"):
        load(path)


def test_folder_without_the_file(tmp_path):
    with pytest.raises(InputError, match=r"holds no fer2013\.csv"):
        load(tmp_path)


def test_a_pipe_isnt_waited_for(tmp_path):
    os.mkfifo(tmp_path / "faces.csv")
    with pytest.raises(InputError, match=r"faces\.csv' is a pipe, socket or device: a CSV file is"):
        data.load(f"fer2013:{tmp_path / 'faces.csv'}")
