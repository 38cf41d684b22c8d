"""Reads what the processor can do from what the system says about it; nothing is guessed."""

from __future__ import annotations

import dataclasses
import functools
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

# A word for the reader to each word of the system's that means it, in the order of printing.
_LINUX = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "AVX-512 VPOPCNTDQ": ("avx512_vpopcntdq",),  # What the fastest 1-bit kernels are made of.
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "AMX": ("amx_int8",),
    "NEON": ("neon", "asimd"),
    "NEON dot product": ("asimddp",),
    "i8mm": ("i8mm",),
    "SVE": ("sve",),
}
_MACOS = {
    "AVX2": ("hw.optional.avx2_0",),
    "AVX-512": ("hw.optional.avx512f",),
    "AVX-512 VPOPCNTDQ": ("hw.optional.avx512vpopcntdq",),
    "VNNI": ("hw.optional.avx512vnni",),
    "NEON": ("hw.optional.neon", "hw.optional.AdvSIMD"),
    "NEON dot product": ("hw.optional.arm.FEAT_DotProd",),
    "i8mm": ("hw.optional.arm.FEAT_I8MM",),
}
# Instructions that multiply four 8-bit numbers by four others and add all up.
INT8_DOT_PRODUCT = {"VNNI", "AMX", "NEON dot product", "i8mm"}
_CPUINFO = Path("/proc/cpuinfo")
_SYSCTL = ("/usr/sbin/sysctl", "hw.optional", "machdep.cpu.brand_string", "hw.physicalcpu")


@dataclasses.dataclass(frozen=True)
class Processor:
    """A processor in the system's words. None is what the system doesn't say.

    Attributes:
        name: such as `AMD EPYC 7B13`, or `AMD EPYC family 25 model 17` in a virtual machine that
            hides the number; of a single-board computer the board's.
        features: what it can do that changes how fast a file runs, such as `AVX2` and `VNNI`.
        cores: its physical cores, over all sockets.
    """

    name: str | None = None
    features: tuple[str, ...] | None = None
    cores: int | None = None

    @property
    def int8_dot_product(self) -> bool | None:
        """Tells whether it adds up products of 8-bit numbers in one instruction."""
        return None if self.features is None else bool(INT8_DOT_PRODUCT & set(self.features))


@functools.cache
def processor() -> Processor:
    """Describes the processor of this machine."""
    if sys.platform == "darwin":
        found = from_sysctl(_sysctl())
    else:
        try:
            found = from_cpuinfo(_CPUINFO.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            found = Processor()
    name = found.name or platform.processor() or platform.machine() or None
    return dataclasses.replace(found, name=name)


def from_cpuinfo(text: str) -> Processor:
    """Reads the text of Linux's `/proc/cpuinfo`, as x86 and ARM kernels write it."""
    name, features, places = None, None, set()
    for entry in re.split(r"\n\s*\n", text):  # One for each logical core.
        values = _values(entry, ":")
        name = name or _full_name(values) or values.get("Model") or None
        words = values.get("flags") or values.get("Features")  # x86, ARM
        if words and features is None:
            features = _features(_LINUX, words.split())
        if "core id" in values:
            places.add((values.get("physical id"), values["core id"]))
    return Processor(name, features, len(places) or None)


def _full_name(values: dict[str, str]) -> str | None:
    """Returns an x86 processor's name; virtual machines cut off its number, but tell its family."""
    name, family, model = (values.get(key) for key in ("model name", "cpu family", "model"))
    if not name or not family or not model or re.search(r"\d", name.partition("@")[0]):
        return name
    return f"{name} family {family} model {model}"


def from_sysctl(text: str) -> Processor:
    """Reads what macOS's `sysctl` prints."""
    values = _values(text, ":")
    present = [key for key, value in values.items() if value == "1"]
    asked = any(key.startswith("hw.optional.") for key in values)
    cores = values.get("hw.physicalcpu", "")
    return Processor(
        values.get("machdep.cpu.brand_string") or None,
        _features(_MACOS, present) if asked else None,
        int(cores) if cores.isdecimal() else None,
    )


def _sysctl() -> str:
    """Returns what macOS prints; empty if it can't be asked. Unknown names are left out."""
    try:
        done = subprocess.run(
            _SYSCTL, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def _values(text: str, separator: str) -> dict[str, str]:
    """Parses lines of a key and a value; lines without the separator are left out."""
    pairs = (line.partition(separator) for line in text.splitlines() if separator in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _features(table: dict[str, tuple[str, ...]], words: Iterable[str]) -> tuple[str, ...]:
    """Returns the features of the table that one of the system's words means."""
    present = set(words)
    return tuple(feature for feature, meant_by in table.items() if present & set(meant_by))
