"""Packs the compiled kernels as a wheel of their own, for machines without a C compiler.

The wheel is small and needs no other package: a program that only runs files installs it beside the
interpreter, and tfcompress takes it, where it is installed, instead of compiling. A wheel of all of
tfcompress would ask for TensorFlow just to run a file.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from tfcompress import files
from tfcompress.errors import InputError
from tfcompress.kernels.build import PACKAGE, file_name
from tfcompress.kernels.cross import Target
from tfcompress.version import VERSION

_INIT = '''"""tfcompress's 1-bit kernels, compiled: an external delegate for LiteRT.

    from ai_edge_litert.interpreter import Interpreter, load_delegate
    Interpreter("m.tflite", experimental_delegates=[load_delegate(tfcompress_kernels.library())])
"""

from pathlib import Path

__version__ = "{version}"


def library() -> str:
    """Path of the shared library."""
    return str(Path(__file__).with_name("{name}"))
'''
_METADATA = """Metadata-Version: 2.1
Name: tfcompress-kernels
Version: {version}
Summary: 1-bit kernels of tfcompress for LiteRT, compiled
License: Apache-2.0
Requires-Python: >=3.8

An external delegate for LiteRT and TensorFlow Lite: `tfcompress_kernels.library()` is the path of
the shared library. A tfcompress of the same sources finds it by itself.
"""
_WHEEL = """Wheel-Version: 1.0
Generator: tfcompress ({version})
Root-Is-Purelib: false
Tag: py3-none-{tag}
"""


def pack(library: bytes, target: Target, folder: Path, licenses: dict[str, str]) -> Path:
    """Writes the wheel of a library and returns its path.

    Args:
        library: the bytes of the library, compiled from the sources as they are now.
        target: the system it is for; one with a wheel tag.
        folder: where the wheel is written.
        licenses: by file name, the licences of other people's code in the library.

    Raises:
        InputError: the package `wheel` isn't installed.
    """
    try:
        from wheel.wheelfile import WheelFile
    except ImportError as error:
        raise InputError("no package wheel: pip install 'tfcompress[wheels]'") from error
    version = VERSION
    info = f"{PACKAGE}-{version}.dist-info"
    name = file_name(target.suffix)
    texts = {
        f"{PACKAGE}/__init__.py": _INIT.format(version=version, name=name),
        f"{info}/METADATA": _METADATA.format(version=version),
        f"{info}/WHEEL": _WHEEL.format(version=version, tag=target.tag),
    }
    for title, text in (_tfcompress_license() | licenses).items():
        texts[f"{info}/licenses/{title}"] = text
    path = folder / f"{PACKAGE}-{version}-py3-none-{target.tag}.whl"
    # Its name must be right while it is written, so it is written in a folder of its own.
    with files.whole(path) as unfinished, WheelFile(unfinished, "w") as wheel:
        wheel.writestr(f"{PACKAGE}/{name}", library)
        for place, text in texts.items():
            wheel.writestr(place, text)
    return path


def _tfcompress_license() -> dict[str, str]:
    installed = importlib.metadata.files("tfcompress") or []
    return {file.name: file.read_text() for file in installed if file.name == "LICENSE"}
