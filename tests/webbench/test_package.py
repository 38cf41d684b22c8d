import urllib.error

import pytest

from tfcompress.errors import InputError
from tfcompress.webbench import package


def test_downloaded_once(npm):
    for _ in range(2):
        assert package.read_files(
            package.CORE, ["dist/index.js", "wasm/litert_wasm_internal.wasm"]
        ) == [
            b"// core",
            b"\0asm",
        ]
    assert npm == ["https://registry.npmjs.org/@litertjs/core/-/core-2.5.3.tgz"]
    assert [path.name for path in package.cache().iterdir()] == ["core-2.5.3.tgz"]


def test_a_spoilt_cache_is_replaced(npm):
    package.read_files(package.WASM_UTILS, ["dist/bundle.js"])
    path = package.cache() / package.WASM_UTILS.file_name
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert package.read_files(package.WASM_UTILS, ["dist/bundle.js"]) == [b"// utils"]
    assert path.read_bytes() == good
    assert len(npm) == 2


def test_another_content_is_refused_and_not_kept(npm, monkeypatch):
    other = package.Package(package.CORE.name, package.CORE.version, "AAAA")
    with pytest.raises(InputError, match=r"core-2\.5\.3\.tgz isn't the file .* SHA-512"):
        package.read_files(other, ["dist/index.js"])
    assert not package.cache().exists()


def test_without_a_network(npm, monkeypatch):
    def urlopen(url, timeout):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(package.urllib.request, "urlopen", urlopen)
    with pytest.raises(
        InputError, match=r"can't be downloaded .Name or service.*put it into .*npm"
    ):
        package.read_files(package.CORE, ["dist/index.js"])
