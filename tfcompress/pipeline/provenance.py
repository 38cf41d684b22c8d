"""Says what made a result: the packages' versions, and the command that repeats it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
import shlex

from tfcompress.config import RunConfig
from tfcompress.version import VERSION

_PACKAGES = (
    "keras",
    "tensorflow",
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
)


def versions() -> dict[str, str]:
    """Returns the versions that a result depends on, by package."""
    ours = {"tfcompress": VERSION, "python": platform.python_version()}
    return ours | {name: importlib.metadata.version(name) for name in _PACKAGES}


def command(config: RunConfig) -> str:
    """Returns the shortest command that repeats the run."""
    words = ["python", "-m", "tfcompress.run", f"--technique={config.technique}"]
    for field in dataclasses.fields(RunConfig):
        value = getattr(config, field.name)
        if field.name in ("technique", "options", "resume"):
            continue
        default = field.default
        if value != default:
            if isinstance(value, tuple):
                value = ",".join(value)
            words.append(f"--{field.name}" if value is True else f"--{field.name}={value}")
    words += [f"--set {key}={value}" for key, value in config.options.items()]
    return " ".join(word if word.startswith("--set ") else shlex.quote(word) for word in words)
