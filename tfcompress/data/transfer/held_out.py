"""Keeps examples that a model is judged by out of what it learns from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any, cast

import numpy as np

from tfcompress.data.nested import slices
from tfcompress.data.pipelines import Stream
from tfcompress.data.protocol import Batch, Data, RandomAccess
from tfcompress.deferred import keras
from tfcompress.errors import require

# Examples at a time.
_BATCH = 256


def refuse_test_examples(transfer: Data, data: Data) -> None:
    """Refuses a transfer set that holds an example by which a model will be judged.

    Two examples are the same where a model is given equal inputs: of images, equal pixels of the
    model's size. A cropped or mirrored copy isn't found.

    Args:
        transfer: the unlabelled examples; a stream's epoch is read once.
        data: with the held-out examples.

    Raises:
        InputError: says how many there are, and which is the first.
    """
    held_out = set(_digests(data.test_batches(_BATCH)))
    same = [at for at, digest in enumerate(_digests(_batches(transfer))) if digest in held_out]
    if not same:
        return
    titles = getattr(transfer, "titles", ())
    first = f"{titles[same[0]]}" if titles else f"its number {same[0] + 1}"
    require(
        False,
        f"transfer set {transfer.name} holds {len(same):,} of the {len(held_out):,} test examples "
        f"of {data.name}, the first is {first}: take them out, for a network must not learn from "
        "what it is judged by",
    )


def _batches(transfer: Data) -> Iterable[Batch]:
    """Yields all training examples, none of them augmented."""
    if isinstance(transfer, Stream):
        yield from transfer.train
        return
    examples = cast(RandomAccess, transfer)
    for part in slices(examples.examples, _BATCH):
        positions = np.arange(part.start, part.stop)
        yield examples.take(positions, "none", np.random.default_rng(0))


def _digests(batches: Iterable[Batch]) -> Iterator[bytes]:
    """Yields a hash of each example's inputs."""
    for batch in batches:
        arrays = [np.ascontiguousarray(part) for part in keras.tree.flatten(batch.x)]
        for row in range(len(arrays[0])):
            digest = hashlib.blake2b(digest_size=16)
            for array in arrays:
                digest.update(_bytes(array[row]))
            yield digest.digest()


def _bytes(value: Any) -> bytes:
    """Returns the content of an array; of text that is its characters."""
    array = np.asarray(value)
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
