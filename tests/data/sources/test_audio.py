import os
import struct
import warnings
import wave

import keras
import numpy as np
import pytest
from scipy.io import wavfile

from tfcompress import data
from tfcompress.data import waveform
from tfcompress.data.sources.audio import SOURCE, AudioOptions
from tfcompress.data.waveform import read_wav
from tfcompress.errors import InputError


def tone(rate, frequency=440.0, seconds=0.5, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path, values, rate, width=2, channels=1):
    """Writes floats of -1..1 as PCM of some bytes, by the standard library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scaled = np.round(values * (256**width // 2 - 1)).astype(np.int64)
    if width == 1:
        scaled += 128
    raw = scaled.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(raw.tobytes())
    return path


@pytest.fixture
def folder(tmp_path):
    """Two words: low tones and high ones; files as several programs write them."""
    for number in range(5):
        write(tmp_path / "low" / f"{number}.wav", tone(8_000, 200 + number), 8_000, width=1)
        stereo = np.repeat(tone(48_000, 3_000 + number), 2)
        write(tmp_path / "high" / f"{number}.WAV", stereo, 48_000, width=3, channels=2)
    write(tmp_path / "_background_noise_" / "hum.wav", tone(8_000, seconds=3), 8_000)
    (tmp_path / "low" / "notes.txt").write_text("no recording")
    return tmp_path


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_samples_of_any_width_and_rate(tmp_path, width, rate):
    other = tone(rate, 1_000)
    stereo = np.stack([tone(rate), other], axis=1).reshape(-1)
    path = write(tmp_path / "x.wav", stereo, rate, width, channels=2)
    samples = read_wav(path, sample_rate=16_000, samples=16_000)
    assert samples.dtype == np.float32
    expected = (tone(16_000) + tone(16_000, 1_000)) / 2
    np.testing.assert_allclose(samples[200:7800], expected[200:7800], atol=0.02)
    assert not samples[8000:].any()


def test_floats_and_a_part_of_a_long_recording(tmp_path):
    path = tmp_path / "x.wav"
    values = tone(16_000, seconds=2)
    wavfile.write(path, 16_000, values.astype(np.float32))
    samples = read_wav(path, sample_rate=16_000, samples=4_000)
    np.testing.assert_allclose(samples, values[:4000], atol=1e-6)
    wavfile.write(path, 16_000, np.array([0.0, np.nan], np.float32))
    with pytest.raises(InputError, match=r"x\.wav has samples that aren't finite numbers"):
        read_wav(path, sample_rate=16_000, samples=4_000)


def test_spectrograms_by_class(folder):
    loaded = data.load(f"audio:{folder}")
    assert loaded.describe() == (
        f"audio:{folder}: 8 training and 2 test recordings, 2 classes, 1 s as 101 frames of 40 mel "
        "bins"
    )
    assert loaded.class_names == ("high", "low")
    assert loaded.split == "At random within each class, 20% for testing, seed 0."
    assert loaded.input_shape == (101, 40, 1)
    assert loaded.train.x.dtype == np.float32
    assert abs(loaded.train.x.mean()) < 1e-4
    assert abs(loaded.train.x.std() - 1) < 1e-4
    # The energy of low tones is in the low bins, for as long as they last.
    loudest = loaded.train.x[:, 10, :, 0].argmax(-1)
    assert (loudest[loaded.train.y == 1] < 8).all()
    assert (loudest[loaded.train.y == 0] > 25).all()
    assert (loaded.train.x[:, 60:].max() < loaded.train.x[:, 10].max(axis=1)).all()


def test_a_program_can_make_the_same_values(folder):
    """From what the report tells of the preparation."""
    loaded = data.load(f"audio:{folder}", options={"seconds": 0.4, "n_mels": 20})
    how = loaded.preparation
    assert how["seconds"] == 0.4
    samples = read_wav(folder / "low" / "0.wav", sample_rate=how["sample_rate"], samples=6_400)
    mel = keras.ops.convert_to_numpy(keras.layers.MelSpectrogram(**how["mel_spectrogram"])(samples))
    values = (np.log(mel.T + 1e-6) - how["mean"]) / how["std"]
    every = np.concatenate([loaded.train.x, loaded.test.x])[..., 0]
    assert np.abs(every - values).max(axis=(1, 2)).min() < 1e-3


def test_train_and_test_folders(folder):
    for part in ("train", "test"):
        for word in ("low", "high"):
            (folder / part / word).mkdir(parents=True)
    for word in ("low", "high"):
        for at, file in enumerate(sorted((folder / word).iterdir())):
            file.rename(folder / ("test" if at == 0 else "train") / word / file.name)
    loaded = data.load(f"audio:{folder}", options={"standardize": False})
    assert (loaded.examples, loaded.test_examples) == (8, 2)
    assert loaded.split == "By folder: train and test."
    assert loaded.train.x.min() == pytest.approx(np.log(1e-6))


GOOD = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 40, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2,
                   16, b"data", 4) + bytes(4)  # fmt: skip


def changed(at, kind, *values):
    return GOOD[:at] + struct.pack(kind, *values) + GOOD[at + struct.calcsize(kind) :]


BAD = {
    "nothing": (b"", "can't be read as .wav"),
    "no recording": (b"\x89PNG\r\n" + bytes(50), "can't be read as .wav"),
    "truncated header": (GOOD[:30], "can't be read as .wav"),
    "truncated data": (changed(40, "<I", 4000), "4,000 bytes of samples should follow, and 4 do"),
    "no samples": (changed(40, "<I", 0)[:44], "has no samples"),
    "4 GiB of data": (changed(40, "<I", 2**32 - 2), "4,294,967,294 bytes of samples should follow"),
    "rate of 0": (changed(24, "<II", 0, 0), "1 channels of 0 samples a second"),
    "rate of 2 GHz": (changed(24, "<II", 2**31 - 1, 2**32 - 2), "of 2,147,483,647 samples a sec"),
    "no channels": (changed(22, "<H", 0), "can't be read as .wav"),
    "channels that don't fit": (changed(22, "<H", 65535), "can't be read as .wav"),
    "99 bits": (changed(34, "<H", 99), "can't be read as .wav"),
    "chunks without end": (
        GOOD[:36] + b"JUNK" + bytes(4) + (b"JUNK" + bytes(4)) * 200,
        "100 chunks",
    ),
    "an MP3 inside": (changed(20, "<H", 85), "can't be read as .wav"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=message) as caught:
            read_wav(path, sample_rate=16_000, samples=16_000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_good_file_with_another_programs_chunk(tmp_path):
    path = tmp_path / "x.wav"
    path.write_bytes(GOOD + b"JUNK" + struct.pack("<I", 4) + b"abcd")
    assert read_wav(path, sample_rate=16_000, samples=160).shape == (160,)


def test_bad_folders(folder, tmp_path_factory, monkeypatch):
    outside = tmp_path_factory.mktemp("outside")
    with pytest.raises(InputError, match="hold a folder of recordings for each of 2 or more"):
        data.load(f"audio:{outside}")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match=r"empty has no recordings \(\.wav \.wave\)"):
        data.load(f"audio:{folder}")
    (folder / "empty").rmdir()
    os.symlink(write(outside / "x.wav", tone(8_000), 8_000), folder / "low" / "link.wav")
    with pytest.raises(InputError, match=r"link\.wav is a link out of"):
        data.load(f"audio:{folder}")
    (folder / "low" / "link.wav").unlink()
    monkeypatch.setattr(waveform, "_LARGEST_FILE", 1000)
    with pytest.raises(InputError, match=r"WAV has 0 MiB, and a recording of one class is shorter"):
        data.load(f"audio:{folder}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seconds": 0.0}, r"seconds must be in 0\.01\.\.600; got 0"),
        ({"n_mels": 0}, r"n_mels must be in 1\.\.512; got 0"),
        ({"seconds": 0.01}, "a window of 25 ms doesn't fit 0.01 seconds"),
        ({"test_fraction": 0.0}, r"test_fraction must be in \(0, 1\)"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        AudioOptions(**options)


def test_recordings_without_labels_are_made_as_the_data_were(folder, tmp_path_factory):
    loaded = data.load(f"audio:{folder}", options={"seconds": 0.5})
    loose = tmp_path_factory.mktemp("loose")
    write(loose / "a.wav", tone(8_000, 202), 8_000, width=1)  # As one of the words.
    request = data.request(f"audio:{loose}", options={"seconds": 0.5})
    unlabelled = SOURCE.unlabelled(request, loaded)
    (given,) = unlabelled.train.x
    assert unlabelled.train.y is None
    words = np.concatenate([loaded.train.x, loaded.test.x])
    assert np.abs(words - given).max(axis=(1, 2, 3)).min() < 1e-5
    with pytest.raises(InputError, match=r"needs data of audio:PATH, too"):
        SOURCE.unlabelled(request, data.Examples(train=loaded.train))
