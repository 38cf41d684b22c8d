"""The kernels compiled, as a wheel of their own: for machines without a C compiler.

It is small and needs nothing: a program that only runs files installs it beside the interpreter,
and tfcompress, where it is installed, finds it before it would compile. Wheels of all tfcompress
for each system would hold the same Python files many times, and ask for TensorFlow just to run one.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from pathlib import Path

import tfcompress
from tfcompress.errors import InputError
from tfcompress.kernels.build import PACKAGE, file_name
from tfcompress.kernels.cross import Target

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
    """Writes the wheel of a library.

    Args:
        library: what was compiled of the sources as they are now.
        target: the system it is for, one that has wheels.
        folder: where the wheel is written.
        licenses: by name, those of what stands in the library beside our own code.

    Raises:
        InputError: the package `wheel` isn't there.
    """
    try:
        from wheel.wheelfile import WheelFile
    except ImportError as error:
        raise InputError("no package wheel: pip install 'tfcompress[wheels]'") from error
    version = tfcompress.__version__
    info = f"{PACKAGE}-{version}.dist-info"
    name = file_name(target.suffix)
    texts = {
        f"{PACKAGE}/__init__.py": _INIT.format(version=version, name=name),
        f"{info}/METADATA": _METADATA.format(version=version),
        f"{info}/WHEEL": _WHEEL.format(version=version, tag=target.tag),
    }
    for title, text in (_own_license() | licenses).items():
        texts[f"{info}/licenses/{title}"] = text
    path = folder / f"{PACKAGE}-{version}-py3-none-{target.tag}.whl"
    # A wheel is named by its content, so that it gets its own name in a folder beside.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".wheel.") as beside:
        with WheelFile(Path(beside) / path.name, "w") as wheel:
            wheel.writestr(f"{PACKAGE}/{name}", library)
            for place, text in texts.items():
                wheel.writestr(place, text)
        os.replace(Path(beside) / path.name, path)
    return path


def _own_license() -> dict[str, str]:
    found = importlib.metadata.files("tfcompress") or []
    return {file.name: file.read_text() for file in found if file.name == "LICENSE"}
