"""Reads .wav files, and brings them to one rate, one channel and one length."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import signal
from scipy.io import wavfile

from tfcompress.errors import InputError, require
from tfcompress.plain_text import first_line

# A recording that is larger is none of a word.
_LARGEST_FILE = 256 << 20
# In Hz: what is outside is a header that was made up, or needs a filter of millions of taps.
_RATES = (1_000, 384_000)
_MOST_CHANNELS = 64
# Before the samples: what programs note of a recording.
_MOST_CHUNKS = 100
# 8-bit samples alone are unsigned; those of 24 bits come in the upper bytes of 32.
_MIDDLE = {"uint8": 128.0}
_FULL = {"uint8": 128.0, "int16": 2.0**15, "int32": 2.0**31}


def read_wav(file: Path, *, sample_rate: int, samples: int) -> np.ndarray:
    """Reads the beginning of a recording, its channels mixed, resampled to a rate.

    Args:
        file: PCM of 8, 16, 24 or 32 bits, or floats, any number of channels.
        sample_rate: in Hz, what it is resampled to.
        samples: of the result; what is longer is cut, what is shorter is followed by zeros.

    Returns:
        float32 (samples,), full scale at 1.

    Raises:
        InputError: names a file that is empty, truncated, or not of this kind.
    """
    rate, mixed = _decoded(file, seconds=samples / sample_rate)
    if rate != sample_rate:
        common = math.gcd(rate, sample_rate)
        mixed = signal.resample_poly(mixed, sample_rate // common, rate // common)
    out = np.zeros(samples, np.float32)
    out[: len(mixed)] = mixed[:samples]
    return out


def _check_whole(file: Path, size: int) -> None:
    """Refuses a file that has fewer samples than it says: SciPy gives those that are there.

    Args:
        file: RIFF, whose chunks have a name and a size; other files are left to SciPy to refuse.
        size: of the file.
    """
    with file.open("rb") as stream:
        order: Literal["big", "little"] = "big" if stream.read(12)[:4] == b"RIFX" else "little"
        for _ in range(_MOST_CHUNKS):
            header = stream.read(8)
            claimed = int.from_bytes(header[4:], order)
            if len(header) < 8:
                return  # SciPy says what is wrong with it.
            if header[:4] == b"data":
                left = max(size - stream.tell(), 0)
                require(
                    claimed <= left,
                    f"{file} is truncated: {claimed:,} bytes of samples should follow, and "
                    f"{left:,} do; replace or remove it",
                )
                return
            stream.seek(claimed + claimed % 2, 1)
    raise InputError(f"{file} has no samples in its first {_MOST_CHUNKS} chunks: remove it")


def _decoded(file: Path, seconds: float) -> tuple[int, np.ndarray]:
    """Returns a file's rate and, of somewhat more than some seconds, its mixed channels."""
    try:
        size = file.stat().st_size
        require(
            size <= _LARGEST_FILE,
            f"{file} has {size >> 20:,} MiB, and a recording of one class is shorter: cut it",
        )
        _check_whole(file, size)
        with warnings.catch_warnings():
            # Chunks of other programs' notes, and ends that aren't those of the header.
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, data = wavfile.read(file)
    except InputError:
        raise
    except Exception as error:
        # What SciPy meets in a broken file: ValueError, struct.error, ZeroDivisionError, ...
        reason = getattr(error, "strerror", None) or first_line(error) or type(error).__name__
        raise InputError(
            f"{file} can't be read as .wav ({reason}): replace or remove it"
        ) from error
    channels = data.shape[1] if data.ndim == 2 else 1
    kind = str(data.dtype)
    require(data.size > 0, f"{file} has no samples: replace or remove it")
    require(
        _RATES[0] <= rate <= _RATES[1] and channels <= _MOST_CHANNELS,
        f"{file} says that it has {channels:,} channels of {rate:,} samples a second, which no "
        "recording has: replace or remove it",
    )
    require(
        kind in _FULL or data.dtype.kind == "f",
        f"{file} has samples of type {kind}: 8, 16, 24 or 32 bits or floats are needed",
    )
    # A little more than is needed: the resampling filter looks ahead.
    data = data[: math.ceil((seconds + 0.1) * rate)].astype(np.float64)
    require(bool(np.isfinite(data).all()), f"{file} has samples that aren't finite numbers")
    data = (data - _MIDDLE.get(kind, 0.0)) / _FULL.get(kind, 1.0)
    return rate, data.mean(axis=1) if data.ndim == 2 else data
