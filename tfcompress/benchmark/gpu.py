"""What LiteRT's GPU accelerator says about itself, which it says on stderr only.

Its Python exceptions have no cause, and `is_fully_accelerated` is true on the CPU too. So that the
GPU ran at all is read from its log: the adapter's line, and the line that splits the ops.
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
    """What ran.

    Attributes:
        name: the adapter's name; None if the runtime named none.
        type: such as `discrete GPU` or `CPU / Software`; None if it wasn't said.
        gpu_ops: ops that run on the GPU; None if it wasn't said, which it isn't if all do.
        cpu_ops: ops that stayed on the CPU; None if it wasn't said.
    """

    name: str | None
    type: str | None
    gpu_ops: int | None
    cpu_ops: int | None

    @property
    def software(self) -> bool:
        """Whether a CPU played the GPU, so that its times say nothing about one."""
        words = f"{self.name} {self.type}".lower()
        return any(word in words for word in _SOFTWARE)


def adapter(log: str) -> Adapter:
    """The adapter and the split of the ops, as a process's log has them."""
    name, kind, split = _ADAPTER.search(log), _TYPE.search(log), _SPLIT.search(log)
    return Adapter(
        name=name["name"].strip() if name else None,
        type=kind["type"].strip() if kind else None,
        gpu_ops=(0 if split[1] == "No" else int(split[1])) if split else None,
        cpu_ops=int(split[2]) if split else None,
    )


def failure(log: str) -> tuple[str, str] | None:
    """The outcome and the reason of a file that didn't run; None if the log doesn't say."""
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
        return "unsupported", f"the GPU refused ops: {_some(ops)}"
    told = [text.strip() for text in _ERROR.findall(log) if not text.startswith("[")]
    return ("unsupported", f"the GPU accelerator failed: {told[0][:200]}") if told else None


def _some(texts: Sequence[str]) -> str:
    """Up to three texts, and how many there are besides."""
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return "; ".join(text[:120] for text in texts[:3]) + more
