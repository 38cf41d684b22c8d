"""Describes the machine that numbers were measured on: without it a latency says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any


def machine() -> dict[str, Any]:
    """Describes this machine in words and numbers, as far as the system does.

    Returns:
        `cpu` (its name), `cores` (those that this process may use), `memory_bytes`, `system`,
        `python` and `ai_edge_litert` (versions). None where the system doesn't say.
    """
    return {
        "cpu": cpu_name(),
        "cores": _cores(),
        "memory_bytes": _memory_bytes(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "ai_edge_litert": _version("ai-edge-litert"),
    }


def cpu_name() -> str | None:
    """Returns the processor's name; None if the system doesn't say."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                key, _, value = line.partition(":")
                if key.strip() in ("model name", "Model") and value.strip():
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or None


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
