"""Parses the names of backends: `cpu`, `gpu?precision=fp32`, `delegate:PATH?key=value`."""

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
        library: the path of a delegate's shared library, or the serial number of a phone; None for
            the only phone, and on other backends.
        options: a delegate's own, as text; `signature` for the CPU; `precision` for a GPU; the
            flags of `benchmark_model` for a phone.
    """

    name: str
    kind: str
    library: str | None = None
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_cpu(self) -> bool:
        """Tells whether only the runtime's own CPU code runs."""
        return self.kind in ("cpu", "cpu-noxnn")

    @property
    def is_gpu(self) -> bool:
        """Tells whether LiteRT's GPU accelerator runs."""
        return self.kind in ("gpu", "gpu+cpu")

    @property
    def precision(self) -> str | None:
        """Returns what a GPU is asked for: `fp16` is half precision where the adapter has it."""
        return self.options.get("precision", "fp16") if self.is_gpu else None

    @property
    def signature(self) -> str | None:
        """Returns the signature to run; None for the one that `tfcompress.load` would run."""
        if self.is_cpu:
            return self.options.get("signature")
        return DEFAULT

    def to_json(self) -> dict[str, Any]:
        """Returns what the measuring process needs to know, as JSON values."""
        return {
            "kind": self.kind,
            "library": self.library,
            "options": dict(self.options),
            "precision": self.precision,
            "signature": self.signature,
        }


# What other backends are compared with; they run the default signature.
REFERENCE = Backend("cpu-noxnn", "cpu-noxnn", options={"signature": DEFAULT})


def parse(name: str) -> Backend:
    """Parses the name of a backend.

    >>> parse("delegate:libx.so?cache=/tmp/a%26b&level=2").options
    {'cache': '/tmp/a&b', 'level': '2'}

    Raises:
        InputError: there is no such backend or library, or the backend takes no such options.
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
    backend = Backend(name, head, None, options)
    allowed = "precision" if backend.is_gpu else "signature"
    for key in options.keys() - {allowed}:
        raise InputError(f"backend '{name}': {head} takes {allowed}, not '{key}'")
    if backend.precision:
        one_of(f"{head}?precision", backend.precision, PRECISIONS)
    return backend


def _options(name: str, question: str, text: str) -> dict[str, str]:
    """Parses `key=value&key=value`, where %XX stands for a character."""
    if not question:
        return {}
    options: dict[str, str] = {}
    for pair in text.split("&"):
        key, equals, value = map(urllib.parse.unquote, pair.partition("="))
        require(bool(key and equals), f"backend '{name}': options are key=value&key=value")
        require(key not in options, f"backend '{name}': option {key} is given twice")
        options[key] = value
    return options
