"""Writes a run's networks as `.tflite` files, with what the files say of themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np

import tfcompress
from tfcompress import models
from tfcompress.data.dataset import Dataset
from tfcompress.export import Exported, Validation, export, io_types
from tfcompress.export.write import method_of
from tfcompress.files import quiet
from tfcompress.pipeline.network import Network
from tfcompress.pipeline.plan import Plan
from tfcompress.runtime import Metadata
from tfcompress.training.progress import say


def check_io(job: Plan, images: Dataset, model: keras.Model) -> None:
    """Refuses `--io` before a training whose file couldn't have it.

    Raises:
        InputError: the file doesn't compute in integers, or the normalisation doesn't fit.
    """
    if job.config.io is not None:
        normal = images.normalization
        whole = method_of(model, job.storage).integer
        io_types.check(job.config.io, integer=whole, mean=normal.mean, std=normal.std)


def write_file(
    job: Plan,
    folder: Path,
    images: Dataset,
    network: Network,
    *,
    samples: np.ndarray,
    comparison: np.ndarray,
) -> Network:
    """Writes a network's file and returns the network with it.

    Args:
        job: the run.
        folder: where the file goes.
        images: the data set, for the file's metadata.
        network: trained.
        samples: training images that integer activations take their ranges from.
        comparison: other images, on which the file is compared with the Keras model.
    """
    with quiet():
        file = export(
            network.model,
            folder / f"{network.title}.tflite",
            storage=network.storage,
            representative=comparison,
            calibration=samples,
            validation=Validation(**network.validation) if network.validation else None,
            metadata=_metadata(job, images, network.title),
            io=network.io,
        )
    _say_what_was_written(network, file)
    return dataclasses.replace(network, exported=file)


def _say_what_was_written(network: Network, file: Exported) -> None:
    """Prints the file's size and how near it is to the Keras model."""
    parity = file.parity
    assert parity is not None  # There were images to compare on.
    near = (
        f"differs from Keras by {100 * parity.relative_rms:.2g}% of the outputs' rms"
        if file.errors
        else f"equals Keras to {parity.max_abs_diff:.1e}"
    )
    say("export", f"{network.title}.tflite ({network.storage}): {file.size_bytes / 1024:,.1f} KiB; "
        f"{near} on {parity.images} images")  # fmt: skip


def _metadata(job: Plan, images: Dataset, title: str) -> Metadata:
    """Says where the data come from and who made the file, but no path of this machine."""
    name = Path(job.config.model).stem if models.is_file(job.config.model) else job.config.model
    data_name = images.public_name
    origin = "" if images.local else f" ({images.source})"
    method = f"by {job.config.technique}" if title == "compressed" else "with float weights"
    return Metadata(
        name=f"{name} on {data_name}",
        description=f"Image classifier {name}, trained on {data_name}{origin}, {method}; written "
        f"by tfcompress {tfcompress.__version__}",
        licence=f"Images: {images.licence}",
        labels=tuple(" ".join(label.split()) or "?" for label in images.class_names),
        mean=images.normalization.mean,
        std=images.normalization.std,
    )
