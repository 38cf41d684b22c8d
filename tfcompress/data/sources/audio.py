"""Short recordings in folders, one folder a class, as log-mel spectrograms."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from tfcompress.data.random_split import check_split_options
from tfcompress.data.source import Request, Source, existing_folder
from tfcompress.errors import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from tfcompress.data.class_folders import Labelled
    from tfcompress.data.examples import Examples
    from tfcompress.data.files import FileKind, LabelledFile

# Added to energies before their logarithm: silence is -13.8.
_FLOOR = 1e-6
# Recordings that are transformed at once.
_AT_ONCE = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class AudioOptions:
    """What recordings become; the defaults are those of keyword spotting, but for the mel bins.

    Attributes:
        seconds: of each recording: what is longer is cut, what is shorter is followed by silence.
        sample_rate: in Hz, what the recordings are resampled to.
        n_mels: bins of the spectrogram, up to half of the sample rate.
        window_ms: length of the part that a spectrum is taken of.
        hop_ms: from one such part to the next.
        standardize: whether the values are brought to mean 0 and deviation 1, as measured on the
            training recordings.
        test_fraction: the share of each class to judge by, where there is no `train` folder.
        split_seed: of the choice of these recordings.
    """

    seconds: float = 1.0
    sample_rate: int = 16_000
    n_mels: int = 40
    window_ms: float = 25.0
    hop_ms: float = 10.0
    standardize: bool = True
    test_fraction: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what no spectrogram can be made by."""
        check_split_options(self.test_fraction, self.split_seed)
        for name, least, most in (
            ("seconds", 0.01, 600),
            ("sample_rate", 1_000, 192_000),
            ("n_mels", 1, 512),
            ("window_ms", 1, 1_000),
            ("hop_ms", 1, 1_000),
        ):
            value = getattr(self, name)
            require(least <= value <= most, f"{name} must be in {least}..{most}; got {value}")
        require(
            self.window_ms <= 1000 * self.seconds,
            f"a window of {self.window_ms:g} ms doesn't fit {self.seconds:g} seconds",
        )

    @property
    def samples(self) -> int:
        """Samples of a recording."""
        return round(self.seconds * self.sample_rate)

    @property
    def spectrogram(self) -> dict[str, Any]:
        """Arguments of `keras.layers.MelSpectrogram`."""
        window = max(round(self.window_ms * self.sample_rate / 1000), 2)
        return {
            "fft_length": 1 << (window - 1).bit_length(),
            "sequence_length": window,
            "sequence_stride": max(round(self.hop_ms * self.sample_rate / 1000), 1),
            "sampling_rate": self.sample_rate,
            "num_mel_bins": self.n_mels,
            "min_freq": 20.0,
            "max_freq": self.sample_rate / 2,
            # Keras's decibels hang on what else is in a batch.
            "power_to_db": False,
        }


def check(request: Request) -> None:
    """Refuses a request whose folder isn't there."""
    existing_folder(request.path, "recordings")


def load(request: Request) -> Examples:
    """Reads a folder of class folders of .wav files, or of `train` and `test` with such folders.

    Folders whose names begin with `_`, such as Speech Commands' `_background_noise_`, are passed
    over. A spectrogram is the logarithm of the energy in each mel bin,
    `log(MelSpectrogram(x)**2 + 1e-6)`, in the order of time.

    Args:
        request: its path is the folder; its options are `AudioOptions`.

    Returns:
        Inputs float32 (n, frames, mel bins, 1), targets int32 (n,).

    Raises:
        InputError: names a folder or a file that can't be used.
    """
    import numpy as np

    from tfcompress.data.class_folders import labelled_files
    from tfcompress.data.examples import Examples
    from tfcompress.data.protocol import Batch

    root = existing_folder(request.path, "recordings")
    options: AudioOptions = request.options
    files = labelled_files(root, _kind(), options.test_fraction, options.split_seed)
    train, test = _spectrograms(files, options)
    preparation: dict[str, Any] = {
        **dataclasses.asdict(options),
        "mel_spectrogram": options.spectrogram,
        "values": f"log(power + {_FLOOR:g})",
    }
    del preparation["test_fraction"], preparation["split_seed"]
    if options.standardize:
        mean, std = float(train.mean(dtype=np.float64)), float(train.std(dtype=np.float64)) or 1.0
        preparation |= {"mean": mean, "std": std}
        for part in (train, test):
            part -= mean
            part /= std
    return Examples(
        train=Batch(train, _labels(files.train)),
        test=Batch(test, _labels(files.test)),
        name=request.name,
        source=str(root),
        split=files.split,
        class_names=files.class_names,
        units="recordings",
        details=f"{len(files.class_names)} classes, {options.seconds:g} s as {train.shape[1]} "
        f"frames of {options.n_mels} mel bins",
        preparation=preparation,
    )


def unlabelled(request: Request, data: Any) -> Examples:
    """Reads all recordings in a folder and below it, their spectrograms made as the data's were.

    Args:
        request: its path is the folder; its options are those of the data.
        data: of this source.

    Raises:
        InputError: the data are of another source, or a folder or a file can't be used.
    """
    from tfcompress.data.class_folders import Labelled
    from tfcompress.data.examples import Examples
    from tfcompress.data.files import Folders, LabelledFile
    from tfcompress.data.protocol import Batch

    root = existing_folder(request.path, "recordings")
    how = getattr(data, "preparation", {})
    require("mel_spectrogram" in how, f"transfer set {request.name} needs data of audio:PATH, too")
    tree = Folders(root, _kind())
    train, _ = tree.splits_in(root)
    files = [LabelledFile(path, 0) for path in tree.files_below(train or root)]
    require(bool(files), f"{train or root} has no recordings (.wav)")
    x, _ = _spectrograms(Labelled((), files, [], ""), request.options)
    x = (x - how.get("mean", 0.0)) / how.get("std", 1.0)
    return Examples(
        train=Batch(x.astype("float32")),
        name=request.name,
        source=str(root),
        units="recordings",
    )


def _kind() -> FileKind:
    """Returns which files are recordings."""
    from tfcompress.data.files import FileKind

    return FileKind(noun="recording", extensions=(".wav", ".wave"), passed_over=(".", "_"))


def _labels(files: Sequence[LabelledFile]) -> np.ndarray:
    import numpy as np

    return np.array([file.label for file in files], np.int32)


def _spectrograms(files: Labelled, options: AudioOptions) -> tuple[np.ndarray, np.ndarray]:
    """Returns the spectrograms of training and of test files: float32 (n, frames, bins, 1).

    Raises:
        InputError: they would take too much memory, or a file can't be read.
    """
    import keras
    import numpy as np

    from tfcompress.data.waveform import read_wav
    from tfcompress.images import MEMORY_BUDGET_BYTES

    # NumPy in and out on any backend; the layer's weights are its mel bins.
    layer = keras.layers.MelSpectrogram(**options.spectrogram, dtype="float32")

    def transformed(paths: Sequence[LabelledFile]) -> np.ndarray:
        waves = np.stack(
            [
                read_wav(file.path, sample_rate=options.sample_rate, samples=options.samples)
                for file in paths
            ]
        )
        energies = keras.ops.convert_to_numpy(layer(waves))
        return np.log(np.swapaxes(energies, 1, 2) + _FLOOR)[..., None]

    frames, bins = transformed(files.train[:1]).shape[1:3]
    count = len(files.train) + len(files.test)
    require(
        4 * count * frames * bins <= MEMORY_BUDGET_BYTES,
        f"{count:,} spectrograms of {frames:,} frames take more than "
        f"{MEMORY_BUDGET_BYTES >> 20:,} MiB: give fewer recordings, or --set seconds=...",
    )
    parts = []
    for paths in (files.train, files.test):
        part = np.empty((len(paths), frames, bins, 1), np.float32)
        for start in range(0, len(paths), _AT_ONCE):
            part[start : start + _AT_ONCE] = transformed(paths[start : start + _AT_ONCE])
        parts.append(part)
    return parts[0], parts[1]


SOURCE = Source(
    pattern="audio:PATH",
    summary="a folder of .wav files a class, as log-mel spectrograms",
    example="audio:words",
    local=True,
    check=check,
    load=load,
    options=AudioOptions,
    unlabelled=unlabelled,
    model="ds_cnn",
)
