"""Lets a process keep the memory that it frees, so that training needn't ask for it again."""

from __future__ import annotations

import ctypes
import os

# By the names that glibc's environment variables use: the number that `mallopt` knows the setting
# by, and its value in bytes. Beyond 32 MiB glibc refuses the first.
_SETTINGS = {
    "mmap_threshold": (-3, 32 * 2**20),
    "trim_threshold": (-1, 256 * 2**20),
    "top_pad": (-2, 64 * 2**20),
}


def keep_freed_memory() -> bool:
    """Makes this process keep the memory that it frees, for its next arrays.

    A training step takes and frees hundreds of megabytes. glibc, the C library of most Linux
    systems, gives large arrays back to the system as they are freed, and the system hands out each
    page of the next one anew (a page fault). How much time that costs depends on the machine: of an
    epoch, from a few percent to more than half. Results are the same to the last bit.

    Call it once, at the start of a program that trains; `python -m tfcompress.run` does so. The
    process then holds the memory that it needed at its peak until it ends, so leave it out of one
    whose memory you measure. Processes that are started from it aren't affected.

    Returns:
        Whether anything was changed: False with another C library (macOS, Windows, Alpine Linux).
        What the environment sets (`MALLOC_TRIM_THRESHOLD_` and the like, or `GLIBC_TUNABLES`)
        stays as it is.
    """
    if not _is_glibc():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    results = [
        mallopt(number, value)
        for name, (number, value) in _SETTINGS.items()
        if not _set_by_the_user(name)
    ]
    return 1 in results


def _is_glibc() -> bool:
    """Says whether this process runs on glibc."""
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):  # Windows; other C libraries.
        return False


def _set_by_the_user(name: str) -> bool:
    """Says whether the environment sets one of the allocator's settings."""
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    return f"MALLOC_{name.upper()}_" in os.environ or f"glibc.malloc.{name}=" in tunables
