"""The kernels for other systems, and a wheel of them that is installed."""

import base64
import csv
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import zipfile

import pytest

from tfcompress import kernels
from tfcompress.kernels import __main__, build, cross, wheel

LINUX = cross.TARGETS["linux-x86_64"]


@pytest.fixture
def packed(tmp_path):
    """Packs bytes as the library of a wheel for Linux."""
    pytest.importorskip("wheel", reason="no package wheel here, which writes wheels")
    return lambda content: wheel.pack(content, LINUX, tmp_path, {"other.txt": "a licence"})


def alone(code, *paths, **environment):
    """What a process without a compiler prints; these folders come before all others."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {list(map(str, paths))}\n{code}"],
        env={**os.environ, "CC": "no-such-compiler", **environment},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def test_a_wheel_is_what_its_record_says(packed):
    path = packed(b"library")
    assert path.name == "tfcompress_kernels-0.1.0-py3-none-manylinux_2_17_x86_64.whl"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    record = files["tfcompress_kernels-0.1.0.dist-info/RECORD"].decode()
    rows = {name: rest for name, *rest in csv.reader(io.StringIO(record))}
    assert set(rows) == set(files)
    assert files[f"tfcompress_kernels/{build.file_name('.so')}"] == b"library"
    for name, content in files.items():
        if not name.endswith("RECORD"):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            assert rows[name] == [f"sha256={digest.decode()}", str(len(content))]
    text = files["tfcompress_kernels-0.1.0.dist-info/WHEEL"].decode()
    assert "Root-Is-Purelib: false\nTag: py3-none-manylinux_2_17_x86_64\n" in text
    assert files["tfcompress_kernels-0.1.0.dist-info/licenses/other.txt"] == b"a licence"


@pytest.mark.skipif(sys.platform != "linux", reason="a library of this system in Linux's wheel")
def test_an_installed_wheel_is_taken_without_a_compiler(fastest, packed, tmp_path):
    path = packed(kernels.library().read_bytes())
    folder = tmp_path / "site"
    zipfile.ZipFile(path).extractall(folder)
    cache = tmp_path / "cache"
    code = (
        "from tfcompress import kernels\n"
        "import tfcompress_kernels\n"
        "assert str(kernels.library()) == tfcompress_kernels.library()\n"
        "print(kernels.names()[0], kernels.delegate() is not None)"
    )
    said, issues = alone(code, folder, TFCOMPRESS_CACHE=str(cache))
    assert said == f"{fastest} True\n"
    assert "isn't used" not in issues
    assert not cache.exists()


def test_a_wheel_of_other_sources_is_not_loaded(tmp_path):
    package = tmp_path / "site" / "tfcompress_kernels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('is not imported')")
    (package / f"xnor-0000000000000000{build.SUFFIX}").write_bytes(b"no library at all")
    code = "from tfcompress import kernels\nprint(kernels.missing(), kernels.missing())"
    said, issues = alone(code, package.parent, TFCOMPRESS_CACHE=str(tmp_path / "cache"))
    assert "no-such-compiler of $CC isn't there" in said
    assert "tfcompress_kernels isn't used: it was made of other sources" in issues


def test_a_library_that_cant_be_loaded(joined, tmp_path):
    package = tmp_path / "tfcompress_kernels"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / build.file_name(build.SUFFIX)).write_bytes(b"of another system")
    code = (
        "from tfcompress import errors, kernels\n"
        "from tfcompress.runtime import LiteModel\n"
        f"print([LiteModel({str(joined[2])!r}).signature for _ in range(2)])\n"
        "try: kernels.delegate()\n"
        "except errors.InputError as error: print(error)"
    )
    said, issues = alone(code, tmp_path)
    assert said.startswith("['serving_default', 'serving_default']\n")
    assert said.count(build.file_name(build.SUFFIX)) == 1
    assert issues.count("1-bit kernels aren't used (the library can't be loaded: ") == 1


def test_a_folder_of_that_name_is_no_package(tmp_path):
    folder = tmp_path / "tfcompress_kernels"
    folder.mkdir()
    (folder / build.file_name(build.SUFFIX)).write_bytes(b"no library at all")
    code = "from tfcompress.kernels.build import installed\nprint(installed())"
    assert str(tmp_path) not in alone(code, tmp_path)[0]


def test_bad_usage(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZIG", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "ziglang", None)
    assert __main__.main(["prog", "--wheel=linux-x86_46"]) == 2
    assert "did you mean 'linux-x86_64'?" in capsys.readouterr().err
    assert __main__.main(["prog", "--wheel=linux-x86_64"]) == 2
    assert "pip install 'tfcompress[wheels]'" in capsys.readouterr().err
    assert __main__.main(["prog", "here"]) == 2
    monkeypatch.setenv("ZIG", "no-such-zig")
    assert __main__.main(["prog", "--wheel=all"]) == 2
    assert "error: linux-x86_64: no-such-zig can't be run" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", cross.TARGETS)
def test_a_library_for_each_system(zig, name):
    """That it is one of that system, with our entries; which ran where is said in the README."""
    content = cross.library(cross.TARGETS[name])
    system, machine = name.split("-")
    if system in ("linux", "android"):
        assert content[:4] == b"\x7fELF"
        assert content[18] == {"x86_64": 62, "aarch64": 183, "arm64": 183}[machine]
    elif system == "windows":
        assert content[:2] == b"MZ"
    else:
        assert content[:8] == b"\xcf\xfa\xed\xfe\x0c\x00\x00\x01"
    for entry in (b"tflite_plugin_create_delegate", b"tflite_plugin_destroy_delegate"):
        assert entry + b"\0" in content
    assert tempfile.gettempdir().encode() not in content
    if cross.TARGETS[name].here():
        ran = __main__.try_here(content, cross.TARGETS[name])
        assert ran == f"run here: {', '.join(kernels.names())}"
