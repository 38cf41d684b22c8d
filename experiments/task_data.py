"""Data of small real tasks: digits as they are, and drawn faces, portraits and spoken words.

What is drawn follows from the seed alone. Each function returns inputs and targets of training and
of held-out examples, the inputs as a model takes them (float32).
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tfcompress import data

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

# Of each of seven expressions: how the mouth bends, how far it opens, how the brows slope.
EXPRESSIONS = (
    (0, 0.06, 0.0),
    (6, 0.06, 0.1),
    (-6, 0.06, 0.45),
    (0, 0.16, -0.3),
    (3, 0.12, -0.1),
    (-3, 0.1, -0.5),
    (0, 0.03, 0.25),
)
RATE = 8000
# The formants in Hz of the two syllables of each word, at their beginnings and ends.
WORDS = (
    ((300, 2200, 600, 1200), (600, 1200, 300, 2200)),
    ((300, 800, 700, 1200), (400, 1900, 400, 1900)),
    ((700, 1200, 300, 2200), (300, 800, 300, 800)),
    ((400, 1900, 300, 800), (700, 1200, 700, 1200)),
    ((600, 1700, 600, 1700), (300, 2200, 300, 800)),
    ((300, 800, 300, 2200), (600, 1700, 600, 1700)),
    ((700, 1200, 700, 1200), (300, 2200, 600, 1200)),
    ((400, 1900, 700, 1200), (300, 800, 700, 1200)),
)
SEGMENTED = 5
CANVAS = 64


@functools.cache
def digits(data_dir: str | None) -> Arrays:
    """Returns MNIST in 0..1, (n, 28, 28): all 60,000 and 10,000 digits with their classes."""
    mnist = data.load("mnist", data_dir=data_dir)
    arrays: list[np.ndarray] = []
    for split in (mnist.train, mnist.test):
        pixels = split.images.batch(np.arange(len(split)))[:, 2:-2, 2:-2, 0]  # Without padding.
        arrays += [pixels.astype("float32") / 255, np.asarray(split.labels)]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def rows_of_digits(data_dir: str | None) -> Arrays:
    """Returns 10,000 training digits and all test digits, as sequences of 28 rows."""
    x, y, x_test, y_test = digits(data_dir)
    return x[:10_000], y[:10_000], x_test, y_test


def noisy_clothes(data_dir: str | None) -> Arrays:
    """Returns the embedded clothes in 0..1 with noise (deviation 0.2), and without."""
    del data_dir
    clothes = data.load("fashion_mnist_small")
    rng = np.random.default_rng(0)
    arrays: list[np.ndarray] = []
    for split in (clothes.train, clothes.test):
        pixels = split.images.batch(np.arange(len(split)))[:, 2:-2, 2:-2, :1]
        clean = pixels.astype("float32") / 255
        noise = rng.normal(0, 0.2, clean.shape).astype("float32")
        arrays += [clean + noise, clean]
    return arrays[0], arrays[1], arrays[2], arrays[3]


def digits_on_canvases(data_dir: str | None) -> Arrays:
    """Returns canvases of 64x64 with up to four digits and noise, and each pixel's class.

    The digits are 0 to 4, of the classes 1 to 5; 0 is the background.
    """
    x, y, x_test, y_test = digits(data_dir)
    train = canvases(x[y < SEGMENTED], y[y < SEGMENTED], 2000, np.random.default_rng(0))
    test = canvases(
        x_test[y_test < SEGMENTED], y_test[y_test < SEGMENTED], 1000, np.random.default_rng(1)
    )
    return *train, *test


def canvases(
    images: np.ndarray, classes: np.ndarray, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Returns images (count, 64, 64, 1) and masks (count, 64, 64) of digits at free places."""
    x = np.zeros((count, CANVAS, CANVAS), "float32")
    masks = np.zeros((count, CANVAS, CANVAS), "uint8")
    for canvas, mask in zip(x, masks, strict=True):
        for quarter in rng.choice(4, rng.integers(1, 5), replace=False):
            top, left = divmod(int(quarter), 2)
            at = rng.integers(0, len(images))
            down, right = rng.integers(0, 32 - 28 + 1, 2) + np.array([32 * top, 32 * left])
            window = (slice(down, down + 28), slice(right, right + 28))
            canvas[window] = images[at] * rng.uniform(0.6, 1)
            mask[window][images[at] > 0.3] = classes[at] + 1
        canvas += rng.normal(0, 0.15, canvas.shape).astype("float32")
    return x[..., None], masks


def faces(count: int, rng: np.random.Generator, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Returns drawn grey faces, uint8 (count, size, size, 1), of seven expressions."""
    classes = np.arange(count) % len(EXPRESSIONS)
    rng.shuffle(classes)
    drawn = np.stack([_face(EXPRESSIONS[kind], rng, size) for kind in classes])
    return np.clip(drawn, 0, 255).astype("uint8")[..., None], classes


def portraits(data_dir: str | None) -> Arrays:
    """Returns drawn faces in -1..1, (n, 48, 48, 1), and the age of each, 20 to 80 years.

    With the age wrinkles grow on the forehead, hair turns white and cheeks sag.
    """
    del data_dir
    rng = np.random.default_rng(0)
    parts = []
    for count in (4000, 1000):
        ages = rng.uniform(20, 80, count).astype("float32")
        drawn = np.stack([_portrait((age - 20) / 60, rng, 48) for age in ages])
        pixels = np.clip(drawn, 0, 255).astype("uint8")[..., None]
        parts += [pixels.astype("float32") / 127.5 - 1, ages[:, None]]
    return parts[0], parts[1], parts[2], parts[3]


def spoken_words(data_dir: str | None) -> Arrays:
    """Returns log-mel spectrograms (n, 61, 40) of eight synthetic words with noise, and classes."""
    del data_dir
    rng = np.random.default_rng(0)
    mel = mel_filters(40, 512)
    parts = []
    for count in (4000, 1000):
        classes = np.arange(count) % len(WORDS)
        sound = np.stack([_word(WORDS[kind], rng) for kind in classes])
        parts += [log_mel(sound, mel), classes]
    return parts[0], parts[1], parts[2], parts[3]


def mel_filters(bands: int, fft: int) -> np.ndarray:
    """Returns triangular filters on the mel scale, (fft / 2 + 1, bands)."""
    mels = np.linspace(0, 2595 * np.log10(1 + RATE / 2 / 700), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.linspace(0, RATE / 2, fft // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling)).astype("float32")


def log_mel(sound: np.ndarray, mel: np.ndarray) -> np.ndarray:
    """Returns the normalised log-mel spectrogram of each second, windows of 32 ms by 16 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 256, axis=1)[:, ::128]
    power = np.abs(np.fft.rfft(frames * np.hanning(256), 512)) ** 2
    return ((np.log(power @ mel + 1e-3) + 2) / 3).astype("float32")


def _soft(distance: np.ndarray) -> np.ndarray:
    """Returns 1 inside of a shape (negative distance) and 0 outside."""
    return 1 / (1 + np.exp(np.clip(distance, -30, 30)))


def _coordinates(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of each pixel in a face's own, shifted, turned and scaled frame."""
    rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    center = size / 2 + rng.normal(0, size / 32, 2)
    scale, turn = size / 64 * rng.uniform(0.85, 1.15), rng.normal(0, 0.08)
    right, down = columns - center[0], rows - center[1]
    x = right * np.cos(turn) + down * np.sin(turn)
    return x / scale, (down * np.cos(turn) - right * np.sin(turn)) / scale


def _head(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns a head on a background with a gradient."""
    background, skin = rng.uniform(20, 90), rng.uniform(130, 220)
    image = background + rng.normal(0, 0.3) * x + rng.normal(0, 0.3) * y
    inside = _soft((np.hypot(x / 22, y / 27) - 1) * 15)
    return image * (1 - inside) + inside * (skin + rng.normal(0, 0.8) * x)


def _face(
    expression: tuple[float, float, float], rng: np.random.Generator, size: int
) -> np.ndarray:
    """Returns one face with an expression, as float pixels."""
    bend, opening, slope = expression
    x, y = _coordinates(rng, size)
    image, dark = _head(x, y, rng), 1 - rng.uniform(0.2, 0.45)
    for side in (-1, 1):
        across = x - side * 9
        image *= 1 - dark * _soft((np.hypot(across / 4, (y + 7) / 2.5) - 1) * 6)
        height = np.abs(y + 13 + side * slope * across) - 1
        image *= 1 - dark * _soft((np.abs(across) - 5) * 2) * _soft(height * 3)
    middle = 12 - (bend + rng.normal(0, 0.7)) * ((x / 9) ** 2 - 0.5)
    lips = 30 * opening * np.sqrt(np.clip(1 - (x / 9.5) ** 2, 0, 1))
    image *= 1 - dark * _soft((np.abs(x) - 9) * 1.5) * _soft((np.abs(y - middle) - lips) * 2)
    return image + rng.normal(0, rng.uniform(3, 10), image.shape)


def _portrait(age: float, rng: np.random.Generator, size: int) -> np.ndarray:
    """Returns one face of an age in 0..1, as float pixels."""
    x, y = _coordinates(rng, size)
    image, dark = _head(x, y, rng), rng.uniform(0.5, 0.7)
    hair = _soft((np.hypot(x / 24, y / 29) - 1) * 15) * _soft((y + 17) * 0.8)
    color = 30 + 190 * np.clip(age + rng.normal(0, 0.05), 0, 1)
    image = image * (1 - hair) + hair * color
    for side in (-1, 1):
        image *= 1 - dark * _soft((np.hypot((x - side * 9) / 4, (y + 5) / 2.5) - 1) * 6)
        sagging = np.hypot((x - side * 12) / 5, (y - 10 - 4 * age) / 2)
        image *= 1 - 0.5 * age * dark * _soft((np.abs(sagging - 1) - 0.25) * 6)
    for number in range(3):
        depth = dark * np.clip(age * rng.uniform(0.7, 1.1) - 0.2 * number, 0, 1)
        height = np.abs(y + 14 - 2.5 * number + rng.normal(0, 0.3)) - 0.5
        image *= 1 - depth * _soft(height * 4) * _soft(np.abs(x) - 10)
    image *= 1 - dark * _soft((np.abs(x) - 7) * 1.5) * _soft((np.abs(y - 14) - 1) * 2)
    return image + rng.normal(0, rng.uniform(3, 8), image.shape)


def _word(syllables: tuple[tuple[int, ...], ...], rng: np.random.Generator) -> np.ndarray:
    """Returns one second of two syllables, each of two gliding formants, in noise."""
    sound = rng.normal(0, rng.uniform(0.2, 1.5), RATE)
    start = int(rng.uniform(0.02, 0.2) * RATE)
    voice = rng.uniform(0.8, 1.25)
    for low, high, low_end, high_end in syllables:
        samples = int(rng.uniform(0.2, 0.32) * RATE)
        envelope = np.hanning(samples) * rng.uniform(0.5, 1)
        for begin, end in ((low, low_end), (high, high_end)):
            hertz = voice * np.linspace(begin, end, samples)
            phase = 2 * np.pi * np.cumsum(hertz) / RATE + rng.uniform(0, 2 * np.pi)
            sound[start : start + samples] += envelope * np.sin(phase)
        start += samples + int(rng.uniform(0.02, 0.08) * RATE)
    return sound


Load = Callable[[str | None], Arrays]
