"""Lines of Python in the place of the processes that files run in."""

import sys

# As the process does before it loads a file.
LOADING = 'import sys; print(\'{"stage": "load", "file": "/a/m.tflite"}\', flush=True); '

# Defines `kill_at(count, calls)`, which kills the process at the count-th (from 0) of the calls of
# functions, each given as its module and its name.
KILL_AT = """
import os, signal
def kill_at(count, calls):
    left = [count]
    def hooked(function):
        def call(*arguments, **named):
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **named)
        return call
    for module, name in calls:
        setattr(module, name, hooked(getattr(module, name)))
"""


def replace(monkeypatch, module):
    """Returns a function that puts code in the place of the process that a module starts."""

    def put(code):
        monkeypatch.setattr(module, "command", lambda: [sys.executable, "-c", code])

    return put
