"""Forks in the place of the processes that files are tried in, so that a campaign takes minutes.

Such a process is started by `python -P -m MODULE`, which takes a third of a second. Here a fork
runs the same module with what is imported already; all else, the limits that it sets to itself, its
messages, and what becomes of its crash, is the product's.
"""

import contextlib
import dataclasses
import io
import os
import resource
import runpy
import selectors
import signal
import subprocess
import sys
import time

# A process that isn't done by then is killed, for a campaign can't wait for a minute each time: so
# much of processor time, and by the clock.
SECONDS, CLOCK_SECONDS = 2, 20.0
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGBUS, signal.SIGILL}


@dataclasses.dataclass
class Counts:
    """What became of the processes of one input."""

    started: int = 0
    crashed: int = 0
    stopped: int = 0


counts = Counts()


class Popen:
    """A fork with as much of `subprocess.Popen` as `tfcompress.runtime.process` uses."""

    def __init__(self, arguments, *, env=None, **_):
        # What the worker has to say of an input must come before what its fork says.
        stdin, self._input = os.pipe()
        self._stdout, stdout = os.pipe()
        self._stderr, stderr = os.pipe()
        self.returncode = None
        self._begun = time.monotonic()
        counts.started += 1
        self.pid = os.fork()
        if self.pid == 0:
            _run(arguments, (stdin, stdout, stderr), env)
        for end in (stdin, stdout, stderr):
            os.close(end)

    def communicate(self, request=b"", timeout=None):
        if request:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._input, request)
            os.close(self._input)
            self._said = {self._stdout: bytearray(), self._stderr: bytearray()}
            self._open = set(self._said)
        end = None if timeout is None else self._begun + min(timeout, CLOCK_SECONDS)
        with selectors.DefaultSelector() as selector:
            for pipe in self._open:
                selector.register(pipe, selectors.EVENT_READ)
            while self._open:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    counts.stopped += 1
                    raise subprocess.TimeoutExpired("a fork", timeout)
                for key, _ in selector.select(left):
                    if part := os.read(key.fd, 1 << 16):
                        self._said[key.fd] += part
                    else:
                        selector.unregister(key.fd)
                        self._open.discard(key.fd)
                        os.close(key.fd)
        self.wait()
        return tuple(bytes(said) for said in self._said.values())

    def wait(self, timeout=None):
        if self.returncode is None:
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            counts.stopped += self.returncode == -signal.SIGXCPU
            counts.crashed += -self.returncode in _CRASHES
        return self.returncode

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


def _run(arguments, ends, env):
    """Is the fork: runs the module and never returns."""
    status = 1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, resource.RLIM_INFINITY))
        for number, end in enumerate(ends):
            os.dup2(end, number)
        os.closerange(3, 256)
        if env is not None:
            os.environ.update(env)
        sys.stdin = io.TextIOWrapper(io.FileIO(0), encoding="utf-8")
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w"), encoding="utf-8", errors="backslashreplace",
                             write_through=True)
            for number in (1, 2)
        )  # fmt: skip
        try:
            runpy.run_module(arguments[arguments.index("-m") + 1], run_name="__main__")
            status = 0
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(status)


class Subprocess:
    """In the place of the module `subprocess` in `tfcompress.runtime.process`."""

    Popen = Popen
    PIPE = subprocess.PIPE
    TimeoutExpired = subprocess.TimeoutExpired
    SubprocessError = subprocess.SubprocessError
