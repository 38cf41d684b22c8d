"""Describes the machine that numbers were measured on: without it a latency says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from typing import Any

from tfcompress.benchmark.checkout import commit
from tfcompress.benchmark.processor import INT8_DOT_PRODUCT, processor


def machine() -> dict[str, Any]:
    """Describes this machine in words and numbers, as far as the system does.

    Returns:
        JSON values, None where the system doesn't say:

        `cpu`: the processor's name.
        `features`: what it can do that changes how fast files run: AVX2, AVX-512, AVX-512
        VPOPCNTDQ, VNNI, AMX, NEON, NEON dot product, i8mm, SVE.
        `int8_dot_product`: whether it multiplies and adds 8-bit numbers in one instruction.
        `cores`: the logical cores that this process may use; `cores_total`: those of the machine;
        `cores_physical`: without those that share one.
        `memory_bytes`, `system`, `python`, `ai_edge_litert` (versions).
        `commit`: of tfcompress, with `+changes` if its sources differ from it; None for an
        installed package.
    """
    cpu = processor()
    return {
        "cpu": cpu.name,
        "features": None if cpu.features is None else list(cpu.features),
        "int8_dot_product": cpu.int8_dot_product,
        "cores": _cores(),
        "cores_total": os.cpu_count(),
        "cores_physical": cpu.cores,
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "ai_edge_litert": _version("ai-edge-litert"),
        "commit": commit(),
    }


def machine_line(machine: Mapping[str, Any]) -> str:
    """Names processor, features, cores and commit in a few words.

    Args:
        machine: as the function of that name returns it; one of an older version has fewer keys.

    >>> machine_line({"cpu": "AMD EPYC", "features": ["AVX2"], "cores": 2, "cores_total": 4})
    'AMD EPYC (AVX2), 2 of 4 cores'
    """
    features, total = machine.get("features"), machine.get("cores_total")
    text = machine["cpu"] or "an unnamed CPU"
    if features is not None:
        text += f" ({', '.join(features) or 'no vector instructions known'})"
    text += f", {machine['cores'] or '?'} "
    text += f"of {total} cores" if total and total != machine["cores"] else "cores"
    if machine.get("commit"):
        text += f", commit {machine['commit']}"
    return text


def int8_note(machine: Mapping[str, Any]) -> str | None:
    """Says what the time of 8-bit numbers depends on: whether the processor has dot products.

    Args:
        machine: as the function of that name returns it.

    Returns:
        A few sentences: where it has none, that they gain little time, and what would gain more;
        where it has them, that elsewhere they gain less. None where the system doesn't say.
    """
    has_them = machine.get("int8_dot_product")
    if has_them is None:
        return None
    if has_them:
        names = [name for name in machine["features"] or () if name in INT8_DOT_PRODUCT]
        return (
            f"What int8 takes here depends on the processor's 8-bit dot products "
            f"({', '.join(names)}): one without them runs it hardly faster than floats."
        )
    # Without them XNNPACK still multiplies eight 8-bit numbers at once on ARM, where it adds up
    # four floats; on x86 it widens them first.
    gain = "less than it could" if "NEON" in (machine["features"] or ()) else "little or no time"
    return (
        f"This processor has no 8-bit dot products (VNNI, NEON dot product), so that int8 gains "
        f"{gain}. What does gain: 1-bit kernels (--technique=xnor --storage=xnor), fewer "
        "multiply-accumulates (cp, separable), or a processor that has them."
    )


def _cores() -> int | None:
    """Counts the logical cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_bytes() -> int | None:
    """Returns the size of the machine's memory."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _version(distribution: str) -> str | None:
    """Returns an installed distribution's version; None if it isn't installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
