"""What `--list` prints, and that neither it nor a misspelled name waits for Keras."""

import subprocess
import sys

import pytest

from tfcompress.pipeline import catalogue

SLOW = ("keras", "tensorflow", "tf_keras", "jax")
LOADED = f"print([name for name in {SLOW} if name in sys.modules], file=sys.stderr)"


def in_new_process(code):
    """Runs code; returns what it printed, and the names of slow packages that it loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{LOADED}"],
        capture_output=True,
        text=True,
        check=True,
    )
    *errors, loaded = done.stderr.splitlines()
    return done.stdout, errors, loaded


def test_the_list_is_printed_without_keras():
    pytest.importorskip("keras")  # Here it is loaded, and the text is the same.
    code = "from tfcompress import run; run.main(['run', '--list'])"
    assert in_new_process(code) == (catalogue.text() + "\n", [], "[]")


def test_each_technique_and_builder_is_imported_without_keras():
    code = f"""
from tfcompress import models, techniques
for get, names in ((techniques.get, techniques.names()), (models.get, models.names())):
    for name in names:
        get(name)
        if any(slow in sys.modules for slow in {SLOW}):
            sys.exit(f"{{name}} imports Keras: `from tfcompress.deferred import keras`, and import "
                     "inside of functions what needs it")
"""
    assert in_new_process(code) == ("", [], "[]")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--technique=nonsense"], "error: unknown technique 'nonsense'"),
        (["--model=vgg17"], "error: unknown model 'vgg17'"),
        (["--set", "wdth=2"], "error: unknown option 'wdth'"),
        (["--storage=int9"], "error: unknown storage 'int9'"),
    ],
)
def test_a_misspelled_name_is_answered_without_keras(words, message):
    code = f"from tfcompress import run; run.main(['run', *{words}])"
    printed, errors, loaded = in_new_process(code)
    assert (printed, loaded) == ("", "[]")
    assert len(errors) == 1
    assert errors[0].startswith(message)
