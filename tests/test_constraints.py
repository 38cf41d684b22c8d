"""The environment is made of pinned packages alone, and of files with the pinned SHA-256 alone."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
# Everything that `make` installs; the packages that compile kernels for other systems aren't.
EXTRAS = ("test", "dev", "docs", "jax", "tensorboard")


def pins() -> dict[str, tuple[str, list[str]]]:
    """Returns each pinned package's version and SHA-256 digests."""
    text = (ROOT / "constraints.txt").read_text().replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        name, version = re.match(r"([\w.-]+)==([\w.+!]+)", line).groups()
        found[canonicalize_name(name)] = (
            version,
            re.findall(r"--hash=sha256:([0-9a-f]{64})", line),
        )
    return found


def test_every_pin_has_the_sha_256_of_its_files():
    without = [name for name, (_, digests) in pins().items() if not digests]
    assert pins()
    assert not without


def test_what_is_installed_and_what_builds_it_is_pinned_within_its_bounds():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    for extra in EXTRAS:
        lines += config["options.extras_require"][extra].splitlines()
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    wanted = [Requirement(line) for line in (*lines, *build, "uv") if line and line[0] != "#"]
    pinned = pins()
    assert len(wanted) > 20
    for requirement in wanted:
        version, _ = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), requirement


def _plant(folder: Path, name: str) -> str:
    """Writes a wheel of the pinned name and version with other content; returns its file name."""
    version, _ = pins()[name]
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "planted = True\n")
        wheel.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return file.name


def _make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**kept, "PIP_CONFIG_FILE": os.devnull, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="make is the command of other systems")
def test_an_installer_with_other_content_is_refused(tmp_path):
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    for name in ("uv", "setuptools"):
        _plant(tmp_path, name)
    done = _make(
        tmp_path,
        ".venv/tools",
        f"PYTHON={sys.executable}",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )
    assert done.returncode != 0
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not list((tmp_path / ".venv").rglob("uv/__init__.py"))
    assert not (tmp_path / ".venv" / "tools").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="make is the command of other systems")
def test_a_package_with_other_content_is_refused(tmp_path):
    uv = Path(sys.prefix) / "bin" / "uv"
    if not uv.exists():
        pytest.skip("this environment wasn't made by make: it has no uv")
    version, digests = pins()["zipp"]
    (tmp_path / "constraints.txt").write_text(f"zipp=={version} --hash=sha256:{digests[0]}\n")
    _plant(tmp_path, "zipp")
    venv.create(tmp_path / "made", with_pip=False)
    done = _make(
        tmp_path,
        *("--assume-old=.venv/tools", ".venv/ready", "BIN=made/bin", f"UV={uv} pip"),
        UV_OFFLINE="1",
        UV_FIND_LINKS=str(tmp_path),
        UV_NO_CACHE="1",
    )
    assert done.returncode != 0
    assert "Hash mismatch" in done.stderr
    assert not list((tmp_path / "made").rglob("zipp/__init__.py"))
