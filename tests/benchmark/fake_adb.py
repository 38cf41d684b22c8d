"""A program in adb's place: a folder is the phone, and FAKE_ADB says what goes wrong."""

import os
import pathlib
import shlex
import shutil
import sys

ROOT = pathlib.Path(os.environ.get("FAKE_PHONE", "."))
WRONG = os.environ.get("FAKE_ADB", "")
# After a report of a run on a phone.
OUTPUT = pathlib.Path(__file__).with_name("benchmark_model_output.txt").read_text()


def fail(text, status=1):
    print(text, file=sys.stderr)
    sys.exit(status)


def local(path):
    return ROOT / path.lstrip("/")


def run(words):
    """One command of the phone's shell."""
    with open(ROOT / "log", "a") as log:
        print(shlex.join(words), file=log)
    if words[0] == "mkdir":
        local(words[1]).mkdir(parents=True)
    elif words[0] == "chmod":
        local(words[2]).chmod(0o755)
    elif words[:2] == ["rm", "-rf"]:
        shutil.rmtree(local(words[2]))
    elif words[0] == "getprop":
        print({"ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a"}.get(words[1], "Fake 1"))
    elif words[0].endswith("/benchmark_model"):
        assert os.access(local(words[0]), os.X_OK)
        assert local(words[1].partition("=")[2]).read_bytes()[4:8] == b"TFL3"
        if WRONG == "crash":
            fail("Segmentation fault", 139)
        if WRONG == "pipe":
            fail("error: write: Broken pipe")
        if WRONG == "format":
            fail("sh: benchmark_model: not executable: 64-bit ELF file", 126)
        if WRONG == "half":
            print(OUTPUT.partition("Running benchmark for at least 50")[0])
        else:
            print(OUTPUT.replace("median=", "m=") if WRONG == "old" else OUTPUT)


def main(words):
    serial = "F1"
    if words == ["devices"]:
        state = {"unauthorized": "unauthorized", "offline": "offline"}.get(WRONG, "device")
        phones = [] if WRONG == "none" else [f"{serial}\t{state}"]
        print("\n".join(["List of devices attached", *phones, *["F2\tdevice"] * (WRONG == "two")]))
        return
    assert words[:2] == ["-s", serial]
    if words[2] == "push":
        if WRONG == "full":
            fail("adb: error: failed to copy 'm' to '/data': remote write failed: No space left")
        shutil.copy(words[3], local(words[4]))
        return
    assert words[2] == "shell"
    for line in words[3].split(";"):
        run(shlex.split(line.replace("2>&1", "")))


if __name__ == "__main__":
    main(sys.argv[1:])
