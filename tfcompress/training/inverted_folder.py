"""Keeps inverted images in a folder that one can look at, and goes on where it was stopped."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfcompress import files
from tfcompress.bounded_json import read_json
from tfcompress.config import Inversion
from tfcompress.data.normalization import Normalization
from tfcompress.errors import InputError
from tfcompress.images import from_array
from tfcompress.training.evaluate import logits
from tfcompress.training.inversion import check_teacher, has_batch_norm, invert
from tfcompress.training.progress import say

# Says from what a folder's images were made.
RECORD = "inverted.json"
# Steps between two lines.
_TOLD = 100


def invert_into(
    folder: str | os.PathLike[str],
    teacher: keras.Model,
    count: int,
    normalization: Normalization,
    *,
    settings: Inversion = Inversion(),  # noqa: B008 - it is frozen.
    student: keras.Model | None = None,
    seed: int = 0,
    say: Callable[[str, str], None] = say,
) -> Path:
    """Makes images from a teacher alone, and writes each as `00000.png`, `00001.png`, ...

    What is there of the same teacher, settings and seed isn't made again; of others it is
    replaced. `folder:PATH` reads them, as a transfer set or to look at what was learned.

    Args:
        folder: made if it isn't there.
        teacher: as `invert` takes it, like the arguments that aren't named here.
        count: how many images.
        normalization: from pixels to what the teacher takes.
        settings: steps, weights, and how many images are made together.
        student: for `settings.adversarial_weight`.
        seed: of the noise.
        say: is called with `inverted` and what was done.

    Returns:
        The folder.

    Raises:
        InputError: the teacher can't be inverted, or the folder holds other files.
    """
    check_teacher(teacher)
    folder = Path(folder)
    _begin(folder, _record(teacher, student, normalization, settings, seed, count))
    if not has_batch_norm(teacher):
        say("inverted", "the teacher has no batch normalisation, whose statistics images are made "
            "by: the priors alone shape them")  # fmt: skip
    batches = np.array_split(np.arange(count), -(-count // settings.batch_size))
    for number, numbers in enumerate(batches):
        paths = [folder / f"{at:05}.png" for at in numbers]
        if all(path.exists() for path in paths):
            continue
        (its_seed,) = np.random.SeedSequence((seed, number)).generate_state(1)
        losses: list[float] = []
        title = f"images {numbers[0] + 1:,} to {numbers[-1] + 1:,}"
        images = invert(
            teacher,
            len(numbers),
            normalization,
            settings=settings,
            student=student,
            seed=int(its_seed),
            on_step=_teller(losses, title, settings.steps, say),
        )
        for path, image in zip(paths, images, strict=True):
            files.write(path, _png(image))
        share = _share_of_its_class(images, teacher, normalization)
        say("inverted", f"{title} of {count:,}: loss {losses[0]:.2f} -> {losses[-1]:.2f}, "
            f"{share:.0%} have their class")  # fmt: skip
    return folder


def _share_of_its_class(
    images: np.ndarray, teacher: keras.Model, normalization: Normalization
) -> float:
    """Returns the share of inverted images that the teacher gives the class they were made for."""
    outputs = logits(teacher, normalization(images))
    wanted = np.arange(len(images)) % outputs.shape[1]
    return float((outputs.argmax(-1) == wanted).mean())


def _teller(
    losses: list[float], title: str, steps: int, say: Callable[[str, str], None]
) -> Callable[[int, float], None]:
    """Returns what keeps the loss of each step, and tells of every hundredth."""

    def on_step(step: int, loss: float) -> None:
        losses.append(loss)
        if step % _TOLD == 0 and step < steps:
            say("inverted", f"{title}: step {step} of {steps}, loss {loss:.2f}")

    return on_step


def _record(
    teacher: keras.Model,
    student: keras.Model | None,
    normalization: Normalization,
    settings: Inversion,
    seed: int,
    count: int,
) -> dict[str, Any]:
    """Returns what tells a folder's images from those of another teacher or other settings."""
    return {
        "tfcompress": "inverted images",
        "teacher": _digest(teacher),
        "student": None if student is None else _digest(student),
        "normalization": dataclasses.asdict(normalization),
        "inversion": dataclasses.asdict(settings),
        "seed": seed,
        "images": count,
    }


def _digest(model: keras.Model) -> str:
    """Returns a hash of a model's weights."""
    digest = hashlib.blake2b(digest_size=16)
    for weight in model.get_weights():
        digest.update(f"{weight.dtype}{weight.shape}".encode())
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def _begin(folder: Path, record: dict[str, Any]) -> None:
    """Makes the folder, and empties it of images that were made from something else.

    Raises:
        InputError: it holds files that weren't made here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    record = json.loads(json.dumps(record))
    names = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".")}
    try:
        old = read_json(path) if path.exists() else None
    except ValueError:
        old = None
    if old == record:
        return
    own = {name for name in names if name.endswith(".png") and name[:-4].isdigit()}
    made_here = isinstance(old, dict) and old.get("tfcompress") == record["tfcompress"]
    others = names - own - {RECORD} if made_here else names
    if others:
        raise InputError(
            f"{folder} holds {sorted(others)[0]}, which isn't of inverted images: choose another"
        )
    for name in own:
        (folder / name).unlink()
    files.write(path, json.dumps(record, indent=1) + "\n")


def _png(image: np.ndarray) -> bytes:
    """Returns an image, uint8 (height, width, 1 or 3), as a PNG file's content."""
    stream = io.BytesIO()
    from_array(image).save(stream, "PNG")
    return stream.getvalue()
