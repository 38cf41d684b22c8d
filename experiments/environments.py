"""Environments of their own for packages that can't be installed beside ours."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path


def environment(folder: Path, *packages: str) -> str:
    """The Python of an environment with these packages; it is made if it isn't there.

    Args:
        folder: of all environments.
        packages: as pip takes them; the first one gives the environment its name.

    Returns:
        The path of its interpreter.

    Raises:
        subprocess.CalledProcessError: a package can't be installed; nothing is left behind.
    """
    own = folder.absolute() / re.sub(r"[^\w.-]+", "-", packages[0])
    python = own / "bin" / "python"
    if not python.exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", str(own)], check=True)
            install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([str(python), *install, *packages], check=True)
        except BaseException:
            shutil.rmtree(own, ignore_errors=True)
            raise
    return str(python)
