"""Times files on an Android phone, by adb and the user's `benchmark_model` of TensorFlow Lite.

The program and a file are pushed to a folder of their own under /data/local/tmp, run there and
removed. The outputs aren't compared with the CPU's, because `benchmark_model` doesn't give any, and
there are no ratios, because files run one after the other. This was tested with a program in adb's
place; no phone was at hand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
import shlex
import shutil
import struct
import subprocess
from collections.abc import Sequence

from tfcompress.benchmark import gpu
from tfcompress.benchmark.backends import Backend
from tfcompress.benchmark.benchmark_model import parse_output
from tfcompress.benchmark.latency import Latency
from tfcompress.benchmark.probe import Probe
from tfcompress.errors import InputError, PlainError

FOLDER = "/data/local/tmp"
# What the e_machine field of a binary's header means.
_ABIS = {0xB7: "arm64-v8a", 0x28: "armeabi-v7a", 0x3E: "x86_64", 0x03: "x86"}
# What adb and the phone print when something fails, with the outcome and the reason.
_UNTRUSTED = "unauthorised: the phone doesn't trust this machine, accept its key on the screen"
_FAILURES = (
    ("no space left", "unsupported", "no space on the phone"),
    ("unauthorized", "no-adapter", _UNTRUSTED),
    ("device offline", "crashed", "the phone went offline"),
    ("no devices|device '.*' not found", "crashed", "the phone is gone"),
    ("broken pipe|protocol fault|connection reset", "crashed", "broken pipe to the phone"),
    ("not executable|exec format error", "unsupported", "wrong ABI for the phone"),
    ("permission denied", "unsupported", f"the phone lets nothing run from {FOLDER}"),
)
_SIGNALS = {132: "SIGILL", 134: "SIGABRT", 137: "SIGKILL (out of memory?)", 139: "SIGSEGV"}


class PhoneError(PlainError, RuntimeError):
    """Why nothing could be measured.

    Attributes:
        outcome: one of those of `tfcompress.benchmark.probe.Probe`.
    """

    def __init__(self, outcome: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = outcome


@dataclasses.dataclass(frozen=True)
class Phone:
    """A phone that answers.

    Attributes:
        serial: adb's name for it.
        abis: the ABIs that its CPU runs, the best first.
        name: its model and Android version.
    """

    serial: str
    abis: tuple[str, ...]
    name: str


def binary_abi(path: str) -> str:
    """Returns the Android ABI that a program was built for.

    Raises:
        InputError: there is no such file, or it isn't a program for Android or Linux.
    """
    try:
        with open(path, "rb") as file:
            header = file.read(20)
    except OSError as error:
        raise InputError(f"--benchmark_model: {path}: {error.strerror or error}") from error
    if len(header) < 20 or header[:4] != b"\x7fELF":
        raise InputError(
            f"--benchmark_model: {path} isn't a program for Android; TensorFlow Lite's page on "
            "performance measurement has one"
        )
    machine = struct.unpack_from("<H", header, 18)[0]
    return _ABIS.get(machine, f"machine {machine}")


def measure(
    paths: Sequence[str | os.PathLike[str]],
    backend: Backend,
    *,
    binary: str,
    threads: int,
    runs: int,
    min_seconds: float,
    timeout_s: float,
) -> list[tuple[Probe, Latency]]:
    """Times files on a phone, one after the other.

    Args:
        paths: the `.tflite` files.
        backend: `android` or `android:SERIAL`; its options go to `benchmark_model`.
        binary: the path of a `benchmark_model` for the phone.
        threads: CPU threads of an inference.
        runs: timed inferences, at least.
        min_seconds: how long they go on, at least.
        timeout_s: a command is killed after this.

    Returns:
        For each file its outcome, and its times as far as `benchmark_model` printed them.
    """
    untimed = [
        Latency(path=os.fspath(path), backend=backend.name, threads=threads) for path in paths
    ]
    try:
        phone = find_phone(backend.library, binary, timeout_s)
    except PhoneError as error:
        failed = Probe(outcome=error.outcome, reason=str(error))
        return [(failed, each) for each in untimed]
    flags = {
        "num_threads": str(threads),
        "num_runs": str(runs),
        "min_secs": f"{min_seconds:g}",
        **backend.options,
    }
    results = []
    for path, each in zip(paths, untimed, strict=True):
        try:
            text = run_on_phone(phone, binary, path, flags, timeout_s)
            ran = Probe(adapter=gpu.Adapter(phone.name, phone.abis[0], None, None))
            results.append((ran, dataclasses.replace(each, **parse_output(text))))
        except PhoneError as error:
            results.append((Probe(outcome=error.outcome, reason=str(error)), each))
        except ValueError as error:
            results.append((Probe(outcome="unsupported", reason=str(error)), each))
    return results


def find_phone(serial: str | None, binary: str, timeout_s: float) -> Phone:
    """Finds the phone to measure on.

    Raises:
        PhoneError: there is no adb, no phone or no single one, it isn't ready, or it can't run the
            binary.
    """
    abi = binary_abi(binary)
    lines = adb(["devices"], timeout_s).splitlines()
    states = dict(line.split("\t", 1) for line in lines if "\t" in line)
    if serial is None and len(states) > 1:
        known = ", ".join(sorted(states))
        raise PhoneError("no-adapter", f"there are several phones, name one as android:{known}")
    serial = serial or next(iter(states), None)
    if serial is None or serial not in states:
        missing = f"no device {serial}" if serial else "no device"
        raise PhoneError("no-adapter", f"{missing}: adb devices doesn't list one")
    state = states[serial].strip()
    if state == "unauthorized":
        raise PhoneError("no-adapter", _UNTRUSTED)
    if state != "device":
        raise PhoneError("no-adapter", f"the phone isn't ready: adb says '{state}'")
    commands = "; ".join(
        f"getprop {name}"
        for name in ("ro.product.cpu.abilist", "ro.product.model", "ro.build.version.release")
    )
    answers = shell(serial, commands, timeout_s).splitlines()
    abis, model, version = (*(line.strip() for line in answers), "", "", "")[:3]
    phone = Phone(serial, tuple(filter(None, abis.split(","))), f"{model}, Android {version}")
    if abi not in phone.abis:
        raise PhoneError(
            "unsupported",
            f"wrong ABI: benchmark_model is for {abi}, the phone runs {abis or 'it does not say'}",
        )
    return phone


def run_on_phone(
    phone: Phone,
    binary: str,
    path: str | os.PathLike[str],
    flags: dict[str, str],
    timeout_s: float,
) -> str:
    """Runs `benchmark_model` on a file and returns what it prints; leaves nothing on the phone.

    Raises:
        PhoneError: a step failed.
    """
    folder = f"{FOLDER}/tfcompress-{secrets.token_hex(6)}"
    command = [f"{folder}/benchmark_model", f"--graph={folder}/model.tflite"]
    command += [f"--{key}={value}" for key, value in flags.items()]
    try:
        shell(phone.serial, f"mkdir {folder}", timeout_s)
        for source, name in ((binary, "benchmark_model"), (path, "model.tflite")):
            here = os.path.abspath(source)
            adb(["-s", phone.serial, "push", here, f"{folder}/{name}"], timeout_s)
        shell(phone.serial, f"chmod 755 {folder}/benchmark_model", timeout_s)
        return shell(phone.serial, f"{shlex.join(command)} 2>&1", timeout_s)
    finally:
        # If something failed before, that is the failure to report.
        with contextlib.suppress(PhoneError):
            shell(phone.serial, f"rm -rf {folder}", min(timeout_s, 30.0))


def shell(serial: str, line: str, timeout_s: float) -> str:
    """Runs a command line on the phone and returns what it prints.

    Raises:
        PhoneError: it failed.
    """
    return adb(["-s", serial, "shell", line], timeout_s)


def adb(arguments: Sequence[str], timeout_s: float) -> str:
    """Runs adb and returns what it prints.

    Raises:
        PhoneError: there is no adb, or it failed.
    """
    program = shutil.which("adb")
    if program is None:
        raise PhoneError("no-adapter", "no adb on the PATH (in Debian the package adb)")
    try:
        done = subprocess.run(
            [program, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise PhoneError("timeout", f"adb wasn't done after {timeout_s:g} s") from error
    except OSError as error:
        raise PhoneError("no-adapter", f"adb can't be run: {error.strerror or error}") from error
    output = done.stdout.decode("utf-8", "replace")
    if done.returncode:
        raise phone_error(done.returncode, output + done.stderr.decode("utf-8", "replace"))
    return output


def phone_error(status: int, text: str) -> PhoneError:
    """Makes the error that an exit status and a command's output stand for."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    last = f": {lines[-1][:200]}" if lines else ""
    for pattern, outcome, reason in _FAILURES:
        if re.search(pattern, text, re.I):
            return PhoneError(outcome, reason + last)
    if status in _SIGNALS:
        return PhoneError("crashed", f"benchmark_model was killed by {_SIGNALS[status]}{last}")
    return PhoneError("unsupported", f"a command on the phone failed with status {status}{last}")
