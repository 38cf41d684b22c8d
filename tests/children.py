"""Lines of Python in the place of the processes that files run in."""

import sys

# As the process does before it loads a file.
LOADING = 'import sys; print(\'{"stage": "load", "file": "/a/m.tflite"}\', flush=True); '


def replace(monkeypatch, module):
    """Returns a function that puts code in the place of the process that a module starts."""

    def put(code):
        monkeypatch.setattr(module, "command", lambda: [sys.executable, "-c", code])

    return put
