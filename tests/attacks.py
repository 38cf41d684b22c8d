"""Attacks in a process of their own: what they say, and the memory that they take."""

import json
import subprocess
import sys

_PROGRAM = """
import json, sys
from tfcompress.errors import InputError

def peak():
    if not sys.platform.startswith("linux"):
        return 0
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024

{imports}
before = peak()
try:
    {call}
    said = None
except InputError as error:
    said = str(error)
print(json.dumps([said, peak() - before]))
"""


def attack(call, path, imports, *, timeout_s=60):
    """Runs a call on the path `sys.argv[1]`.

    Returns:
        What it was refused with, None if it wasn't, and the bytes that its process grew by (0 where
        the system isn't Linux).
    """
    program = _PROGRAM.format(imports=imports, call=call)
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True, text=True, timeout=timeout_s, check=True,
    )  # fmt: skip
    said, grown_bytes = json.loads(done.stdout)
    assert said is None or "\n" not in said
    return said, grown_bytes
