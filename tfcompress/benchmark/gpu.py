"""Reads LiteRT's log, the only place where its GPU accelerator says what it did.

Its Python exceptions have no cause, and `is_fully_accelerated` is true on the CPU too. So two lines
of the log tell whether a GPU ran at all: the adapter's, and the one about the split of the ops.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

_ADAPTER = re.compile(r"Selected adapter: (?P<name>.*?)(?:, \w+=|$)")
_TYPE = re.compile(r"Selected adapter: .*adapterType=(?P<type>[^,\n]+)")
_SPLIT = re.compile(
    r"^(\d+|No) operations will run on the GPU, and (?:the remaining|all) (\d+) operations", re.M
)
_REFUSED = re.compile(
    r"^ERROR: Following operations are not supported by GPU delegate:\n"
    r"(.*?)\n(?:\d+|No) operations",
    re.M | re.S,
)
_ERROR = re.compile(r"(?:WebGPU error: |^ERROR: (?!\[)|^E\d{4} [^\]]*\] )(.*)", re.M)
_NO_ADAPTER = ("No adapters found", "Failed to initialize WebGPU environment")
_NO_ACCELERATOR = "GPU accelerator could not be loaded and registered"
_SOFTWARE = ("software", "cpu", "swiftshader", "llvmpipe", "lavapipe")


@dataclasses.dataclass(frozen=True)
class Adapter:
    """The GPU that a file ran on, and how its ops were split.

    Attributes:
        name: the GPU's name; None if the log has none.
        type: such as `discrete GPU` or `CPU / Software`; None if the log doesn't say.
        gpu_ops: ops that run on the GPU; None if the log doesn't say, as when all do.
        cpu_ops: ops that stayed on the CPU; None if the log doesn't say.
    """

    name: str | None
    type: str | None
    gpu_ops: int | None
    cpu_ops: int | None

    @property
    def software(self) -> bool:
        """Tells whether a CPU played the GPU, so that the times say nothing about a GPU."""
        words = f"{self.name} {self.type}".lower()
        return any(word in words for word in _SOFTWARE)


def parse_adapter(log: str) -> Adapter:
    """Reads the GPU and the split of the ops from a process's log."""
    name, kind, split = _ADAPTER.search(log), _TYPE.search(log), _SPLIT.search(log)
    return Adapter(
        name=name["name"].strip() if name else None,
        type=kind["type"].strip() if kind else None,
        gpu_ops=(0 if split[1] == "No" else int(split[1])) if split else None,
        cpu_ops=int(split[2]) if split else None,
    )


def explain_failure(log: str) -> tuple[str, str] | None:
    """Returns the outcome and the reason of a file that didn't run; None if the log has none."""
    if any(text in log for text in _NO_ADAPTER):
        why = "it found none"
        if "Found no drivers" in log:
            why = "there is no driver for one"
        elif "Couldn't load Vulkan" in log:
            why = "the Vulkan loader is missing (in Debian the package libvulkan1)"
        return "no-adapter", f"LiteRT's GPU accelerator needs a GPU: {why}"
    if _NO_ACCELERATOR in log:
        return "no-adapter", "this LiteRT has no GPU accelerator for this system"
    refused = _REFUSED.search(log)
    if refused:
        ops = [" ".join(line.split()) for line in refused[1].splitlines() if line.strip()]
        return "unsupported", f"the GPU refused ops: {_first_three(ops)}"
    errors = [text.strip() for text in _ERROR.findall(log) if not text.startswith("[")]
    return ("unsupported", f"the GPU accelerator failed: {errors[0][:200]}") if errors else None


def _first_three(texts: Sequence[str]) -> str:
    """Joins up to three texts, and says how many more there are."""
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(text[:120] for text in texts[:3]) + more
