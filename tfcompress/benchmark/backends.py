"""What a backend's name means: `cpu`, `gpu?precision=fp32`, `delegate:PATH?key=value`."""

from __future__ import annotations

import dataclasses
import os
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfcompress.config import BENCHMARK_BACKENDS
from tfcompress.errors import InputError, one_of, require
from tfcompress.tflite.signatures import DEFAULT

# A run of the pipeline has no phone.
BACKENDS = (*BENCHMARK_BACKENDS, "android:SERIAL")
PRECISIONS = ("fp16", "fp32")
_DELEGATE = "delegate:"
_PHONE = "android"


@dataclasses.dataclass(frozen=True)
class Backend:
    """Where a file runs.

    Attributes:
        name: as the user wrote it.
        kind: `cpu` (with XNNPACK), `cpu-noxnn` (the runtime's own kernels), `gpu` (every op there),
            `gpu+cpu` (what the GPU takes there, the rest on the CPU), `delegate` or `android`.
        library: the delegate's shared library; of a phone its serial number, None for the only one.
        options: the delegate's options, as text; of the CPU `signature`; of a GPU `precision`; of
            a phone the flags of `benchmark_model`.
    """

    name: str
    kind: str
    library: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_cpu(self) -> bool:
        """Whether nothing but the runtime's own CPU code runs."""
        return self.kind in ("cpu", "cpu-noxnn")

    @property
    def is_gpu(self) -> bool:
        """Whether LiteRT's GPU accelerator runs."""
        return self.kind in ("gpu", "gpu+cpu")

    @property
    def precision(self) -> str | None:
        """What is asked of a GPU: `fp16` means half precision where the adapter has it."""
        return self.options.get("precision", "fp16") if self.is_gpu else None

    @property
    def signature(self) -> str | None:
        """Which one of a file with several runs; None for the one that `tfcompress.load` takes."""
        if self.is_cpu:
            return self.options.get("signature")
        return DEFAULT

    def to_json(self) -> dict[str, Any]:
        """What the measuring process needs to know."""
        return {
            "kind": self.kind,
            "library": self.library,
            "options": dict(self.options),
            "precision": self.precision,
            "signature": self.signature,
        }


CPU = Backend("cpu", "cpu")
# Other backends than the CPU run the stock signature.
REFERENCE = Backend("cpu-noxnn", "cpu-noxnn", options={"signature": DEFAULT})


def parse(name: str) -> Backend:
    """The backend of that name.

    >>> parse("delegate:libx.so?cache=/tmp/a%26b&level=2").options
    {'cache': '/tmp/a&b', 'level': '2'}

    Raises:
        InputError: no such backend, no such library, or options that it doesn't take.
    """
    head, question, text = name.partition("?")
    if name.startswith(_DELEGATE):
        library = head.removeprefix(_DELEGATE)
        require(library != "", "backend delegate:PATH needs the path of a shared library")
        # Without a slash it is a name that the system's loader looks up.
        if os.sep in library:
            library = os.path.abspath(library)
            require(Path(library).is_file(), f"backend '{name}': there is no file {library}")
        return Backend(name, "delegate", library, _options(name, question, text))
    if head.partition(":")[0] == _PHONE:
        serial = head.partition(":")[2] or None
        return Backend(name, _PHONE, serial, _options(name, question, text))
    one_of("backend", head, BACKENDS)
    options = _options(name, question, text)
    found = Backend(name, head, None, options)
    takes = "precision" if found.is_gpu else "signature"
    for key in options.keys() - {takes}:
        raise InputError(f"backend '{name}': {head} takes {takes}, not '{key}'")
    if found.precision:
        one_of(f"{head}?precision", found.precision, PRECISIONS)
    return found


def _options(name: str, question: str, text: str) -> dict[str, str]:
    """`key=value&key=value` as a dictionary; %XX stands for a character."""
    if not question:
        return {}
    options: dict[str, str] = {}
    for pair in text.split("&"):
        key, equals, value = map(urllib.parse.unquote, pair.partition("="))
        require(bool(key and equals), f"backend '{name}': options are key=value&key=value")
        require(key not in options, f"backend '{name}': option {key} is given twice")
        options[key] = value
    return options
