"""Phones, with a program in adb's place: nothing here has seen a real one."""

import os
import pathlib
import struct
import sys

import pytest

from tests.benchmark.fake_adb import OUTPUT
from tfcompress.benchmark import __main__ as command
from tfcompress.benchmark import measure as function
from tfcompress.benchmark.benchmark_model import parse_output
from tfcompress.errors import InputError

FAKE = pathlib.Path(__file__).with_name("fake_adb.py")


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A folder that is the phone, and a function that lets something go wrong there."""
    if os.name != "posix":
        pytest.skip("the fake adb is a shell script")
    programs, root = tmp_path / "bin", tmp_path / "phone"
    programs.mkdir()
    (root / "data/local/tmp").mkdir(parents=True)
    script = programs / "adb"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{FAKE}" "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_PHONE", str(root))
    return root, lambda what: monkeypatch.setenv("FAKE_ADB", what)


def binary(tmp_path, machine=0xB7):
    """The beginning of a program for a machine: arm64 if nothing is said."""
    path = tmp_path / "benchmark_model"
    path.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HH", 3, machine) + bytes(44))
    return path


def test_times(tiny_file, tmp_path, phone):
    root, _ = phone
    options = {"benchmark_model": binary(tmp_path), "runs": 20, "min_seconds": 0.5}
    found = function(
        [tiny_file, tiny_file], backends="android:F1?use_gpu=true", threads=[4], **options
    )
    for file in found:
        assert (file.outcome, file.kind, file.threads, file.timed) == ("ok", "android", 4, True)
        assert (file.load_ms, file.first_ms, file.warmup_ms) == (0.855, 49.06, 34.8251)
        assert (file.latency_ms_p50, file.latency_ms_p95) == (33.15, 34.0)
        assert (file.latency_ms_mean, file.latency_ms_std) == (33.2094, 0.45)
        assert (file.latency_ms_min, file.latency_ms_max) == (32.641, 34.005)
        assert (file.latency_runs, file.warmup_runs) == (50, 15)
        # What benchmark_model didn't print isn't there.
        assert file.latency_ms_p90 is file.latency_ms_p99 is file.ratio is None
        assert file.peak_memory_bytes is file.parity_relative_rms is file.peak_share is None
        assert (file.adapter, file.adapter_type) == ("Fake 1, Android Fake 1", "arm64-v8a")
    log = (root / "log").read_text()
    assert "--num_threads=4 --num_runs=20 --min_secs=0.5 --use_gpu=true" in log
    # Nothing is left on the phone.
    assert list((root / "data/local/tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "outcome", "reason"),
    [
        ("none", "no-adapter", "no device: adb devices doesn't list one"),
        ("two", "no-adapter", "there are several phones, name one as android:F1, F2"),
        ("unauthorized", "no-adapter", "unauthorised: the phone doesn't trust this machine"),
        ("offline", "no-adapter", "adb says 'offline'"),
        ("full", "unsupported", "no space on the phone: adb: error: failed to copy"),
        ("format", "unsupported", "wrong ABI for the phone: sh: benchmark_model: not executable"),
        ("pipe", "crashed", "broken pipe to the phone: error: write: Broken pipe"),
        ("crash", "crashed", "benchmark_model was killed by SIGSEGV: Segmentation fault"),
        ("half", "unsupported", "benchmark_model printed no timings: count=15"),
    ],
)
def test_failures(tiny_file, tmp_path, phone, wrong, outcome, reason):
    root, set_wrong = phone
    set_wrong(wrong)
    (found,) = function(tiny_file, backends="android", benchmark_model=binary(tmp_path))
    assert (found.outcome, found.timed, found.latency_ms_p50) == (outcome, False, None)
    assert reason in found.reason
    assert list((root / "data/local/tmp").iterdir()) == []


def test_wrong_abi_is_known_before_anything_is_pushed(tiny_file, tmp_path, phone):
    root, _ = phone
    program = binary(tmp_path, machine=0x3E)
    (found,) = function(tiny_file, backends="android", benchmark_model=program)
    assert found.outcome == "unsupported"
    assert found.reason == (
        "wrong ABI: benchmark_model is for x86_64, the phone runs arm64-v8a,armeabi-v7a"
    )
    assert "mkdir" not in (root / "log").read_text()


def test_no_adb(tiny_file, tmp_path, monkeypatch):
    program = binary(tmp_path)
    monkeypatch.setattr("tfcompress.benchmark.android.shutil.which", lambda _: None)
    (found,) = function(tiny_file, backends="android", benchmark_model=program)
    assert found.outcome == "no-adapter"
    assert found.reason == "no adb on the PATH (in Debian the package adb)"


def test_an_old_program_prints_no_median(tiny_file, tmp_path, phone, capsys):
    phone[1]("old")
    words = ["benchmark", str(tiny_file), "--backends=android"]
    assert command.main([*words, f"--benchmark_model={binary(tmp_path)}"]) == 0
    output = capsys.readouterr().out
    assert "tiny.tflite on android: mean 33.2 ms, no median." in output
    assert "nobody compared what the files compute there" in output


def test_bad_programs(tiny_file, tmp_path):
    text = tmp_path / "benchmark_model"
    text.write_text("#!/bin/sh\necho hello, I am a script\n")
    for program, message in (
        (None, "a phone needs benchmark_model"),
        (tmp_path / "absent", "absent: No such file"),
        (text, "isn't a program for Android"),
    ):
        with pytest.raises(InputError, match=message):
            function(tiny_file, backends="android", benchmark_model=program)


def test_output_that_contradicts_itself_is_no_number():
    with pytest.raises(ValueError, match="two different averages"):
        parse_output(OUTPUT.replace("Inference (avg): 33209.4", "Inference (avg): 53209.4"))
    with pytest.raises(ValueError, match=r"printed no timings$"):
        parse_output("")
    with pytest.raises(ValueError, match="printed no timings: dlopen failed"):
        parse_output("STARTING!\ndlopen failed\n")
