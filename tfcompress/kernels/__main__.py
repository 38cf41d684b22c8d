"""Builds the kernels: `python -m tfcompress.kernels`."""

from __future__ import annotations

import sys

from tfcompress.kernels.build import BuildError, library


def main() -> int:
    """Says where the library is, or why there is none; 0 either way, for none is needed."""
    try:
        print(f"1-bit kernels: {library()}")
    except BuildError as error:
        print(f"1-bit kernels not built ({error}); binary networks run on stock int8 kernels")
    return 0


if __name__ == "__main__":
    sys.exit(main())
