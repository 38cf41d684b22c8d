"""Page faults are counted in processes of their own, since the allocator's settings stay."""

import os
import subprocess
import sys

import pytest

from tfcompress import allocator

ROUNDS = 20
# Below 4 MiB, from where on NumPy asks for large pages, of which there are few.
ARRAYS, BYTES = 12, 3 * 2**20
COUNT_FAULTS = f"""
import resource, sys, threading
import numpy as np
from tfcompress.allocator import keep_freed_memory

def take_and_free():
    arrays = [np.ones({BYTES}, np.uint8) for _ in range({ARRAYS})]

def rounds():
    global faults
    take_and_free()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range({ROUNDS}):
        take_and_free()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

changed = keep_freed_memory() if "keep" in sys.argv else False
if "thread" in sys.argv:
    thread = threading.Thread(target=rounds)
    thread.start()
    thread.join()
else:
    rounds()
print(int(changed), faults)
"""
# Every page of every array, if each round takes all of them anew.
ALL = ROUNDS * ARRAYS * BYTES // 4096


def count(*words, **environment):
    """Whether settings were changed, and the faults of taking and freeing arrays."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, *words],
        capture_output=True,
        text=True,
        check=True,
        env=clean | environment,
    )
    changed, faults = done.stdout.split()
    return bool(int(changed)), int(faults)


needs_glibc = pytest.mark.skipif(
    not allocator._is_glibc(), reason="this C library keeps memory in its own way"
)


@needs_glibc
@pytest.mark.parametrize("where", ["main", "thread"])
def test_freed_memory_is_kept(where):
    changed, faults = count(where)
    assert not changed
    assert faults > ALL / 4
    changed, kept = count("keep", where)
    assert changed
    assert kept < faults / 50


@needs_glibc
def test_what_the_environment_sets_stays():
    names = ("MMAP_THRESHOLD", "TRIM_THRESHOLD", "TOP_PAD")
    own = {f"MALLOC_{name}_": str(2**20) for name in names}
    changed, faults = count("keep", **own)
    assert not changed
    assert faults > ALL / 4
    tunables = ":".join(f"glibc.malloc.{name.lower()}={2**20}" for name in names)
    assert count("keep", GLIBC_TUNABLES=tunables)[0] is False
    assert count("keep", GLIBC_TUNABLES="glibc.malloc.arena_max=2")[0] is True


def no_such_function(name):
    raise ValueError("unrecognized configuration name")


@pytest.mark.parametrize("confstr", [None, no_such_function, lambda name: ""])
def test_other_c_libraries_are_left_alone(monkeypatch, confstr):
    if confstr is None:
        monkeypatch.delattr(os, "confstr")
    else:
        monkeypatch.setattr(os, "confstr", confstr)
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert allocator.keep_freed_memory() is False


@needs_glibc
def test_measuring_processes_do_not_inherit_it(monkeypatch):
    """They report memory, which must be as it is without tfcompress's command."""
    monkeypatch.setattr(sys, "argv", [sys.argv[0]])
    before = dict(os.environ)
    code = "from tfcompress.allocator import keep_freed_memory as keep; import subprocess, sys; "
    code += "keep(); subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, COUNT_FAULTS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout.split()[1]) > ALL / 4
    assert dict(os.environ) == before
