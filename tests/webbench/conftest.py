"""Packages that aren't LiteRT.js, so that nothing is downloaded, and a small file."""

import base64
import dataclasses
import hashlib
import io
import tarfile

import pytest

from tests.benchmark.flat import Net
from tfcompress.webbench import package


def tarball(**members):
    """An npm tarball; `__` stands for a slash and `_dot_` for a dot."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            path = name.replace("__", "/").replace("_dot_", ".")
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def integrity(content):
    return base64.b64encode(hashlib.sha512(content).digest()).decode()


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An empty cache, and a registry that has the two packages; returns what was asked for."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    contents = {
        "CORE": tarball(
            dist__index_dot_js=b"// core",
            wasm__litert_wasm_internal_dot_js=b"// loader",
            wasm__litert_wasm_internal_dot_wasm=b"\0asm",
            wasm__litert_wasm_compat_internal_dot_js=b"// compatible loader",
            wasm__litert_wasm_compat_internal_dot_wasm=b"\0asm compatible",
        ),
        "WASM_UTILS": tarball(dist__bundle_dot_js=b"// utils"),
    }
    by_url, asked = {}, []
    for name, content in contents.items():
        known = getattr(package, name)
        changed = dataclasses.replace(known, integrity=integrity(content))
        monkeypatch.setattr(package, name, changed)
        by_url[known.url] = content

    def urlopen(url, timeout):
        asked.append(url)
        return io.BytesIO(by_url[url])

    monkeypatch.setattr(package.urllib.request, "urlopen", urlopen)
    return asked


@pytest.fixture(scope="session")
def small_file(tmp_path_factory):
    net = Net()
    x = net.tensor((1, 8, 8, 3))
    path = tmp_path_factory.mktemp("web") / "small.tflite"
    return net.write(path, [x], [net.dense(net.conv(x, 4), 5)])
