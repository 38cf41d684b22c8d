import re
import sys

import numpy as np
import pytest
from keras import tree

from tfcompress import data
from tfcompress.data.source import find_source
from tfcompress.errors import InputError

CODE = """
import keras
import numpy as np
import tensorflow as tf

from beside_it import NUMBER

X = np.arange(60, dtype="float64").reshape(20, 3)
Y = np.arange(20) % 2


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return X[5 * index : 5 * index + 5], Y[5 * index : 5 * index + 5]


def arrays():
    return X, Y


def pair():
    return (X, Y), (X[:6], Y[:6])


def two_inputs():
    return (X, X[:, :2]), Y


def two_of_everything():
    return ((X, X[:, :2]), (Y, X)), ((X[:6], X[:6, :2]), (Y[:6], X[:6]))


def named():
    return {"a": X, "b": X[:, :2]}, {"one": Y, "two": X}


def weighted():
    return X, Y, np.ones(20)


def sequence():
    return Batches()


def pipeline():
    return tf.data.Dataset.from_tensor_slices((X, Y)).batch(5)


def single_examples():
    return tf.data.Dataset.from_tensor_slices((X, Y))


def generator():
    return ((X[at : at + 5], Y[at : at + 5]) for at in (0, 5, 10, 15))


def pairs_of_streams():
    return pipeline(), pipeline()


def stream_and_arrays():
    return Batches(), (X[:6], Y[:6])


def images():
    from tfcompress.data import from_arrays

    return from_arrays((np.zeros((20, 8, 8), "uint8"), Y))


def broken_stream():
    def batches():
        yield X, Y
        yield X / {}, Y

    return batches


def nothing():
    pass


def fails():
    return X + np.ones(7)


def leaves():
    raise SystemExit("no data today")


def needs(argument):
    return argument


value = 3
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    (tmp_path / "beside_it.py").write_text("NUMBER = 1")
    path = tmp_path / "my: data.py"
    path.write_text(CODE)
    return path


@pytest.mark.parametrize(
    ("function", "shape", "held_out", "split"),
    [
        ("arrays", (3,), 4, "At random within each class, 20% for testing, seed 0."),
        ("pair", (3,), 6, "As my: data.py:pair returns them."),
        ("two_inputs", None, 4, "At random within each class, 20% for testing, seed 0."),
        ("two_of_everything", None, 6, "As my: data.py:two_of_everything returns them."),
        ("named", None, 4, "At random, 20% for testing, seed 0."),
        ("weighted", (3,), 4, "At random within each class, 20% for testing, seed 0."),
        ("sequence", (3,), 0, "As my: data.py:sequence returns them."),
        ("pipeline", (3,), 0, "As my: data.py:pipeline returns them."),
        ("single_examples", (3,), 0, "As my: data.py:single_examples returns them."),
        ("pairs_of_streams", (3,), 20, "As my: data.py:pairs_of_streams returns them."),
        ("stream_and_arrays", (3,), 6, "As my: data.py:stream_and_arrays returns them."),
        ("images", (8, 8, 3), 4, "At random within each class, 20% for testing, seed 0."),
    ],
)
def test_what_fit_takes(file, function, shape, held_out, split):
    name = f"{file}:{function}"
    data.check_name(name)
    assert data.runs_code(name)
    loaded = data.load(name)
    assert (loaded.name, loaded.local) == (name, True)
    assert (loaded.input_shape, loaded.split) == (shape, split)
    held_out_targets = [tree.flatten(batch.y)[0] for batch in loaded.test_batches(4)]
    assert sum(map(len, held_out_targets)) == held_out


def test_generators_and_names(file):
    options = {"steps_per_epoch": 2, "class_names": ("no", "yes")}
    loaded = data.load(f"{file}:generator", options=options)
    assert (loaded.steps(64), loaded.class_names, loaded.num_outputs) == (2, ("no", "yes"), 2)
    with pytest.raises(InputError, match=r"is a generator, .*: give steps_per_epoch"):
        data.load(f"{file}:generator")


def test_values_reach_the_model_as_they_are(file):
    loaded = data.load(f"{file}:pair")
    np.testing.assert_array_equal(loaded.train.x, np.arange(60).reshape(20, 3))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("fails", r"my: data\.py line {fails}: ValueError: operands could not be broadcast"),
        ("leaves", r"my: data\.py line {leaves}: SystemExit: no data today"),
        ("needs", r"my: data\.py: TypeError: needs\(\) missing 1 required positional argument"),
        ("nothing", r"what my: data\.py:nothing returns: data must be .* got NoneType"),
        ("value", "unknown function of .*: 'value'.* Known: {functions}$"),
    ],
)
def test_code_that_fails_is_one_line(file, function, message):
    lines = CODE.splitlines()
    places = {name: lines.index(f"def {name}():") + 2 for name in ("fails", "leaves")}
    functions = ", ".join(sorted(re.findall(r"^def (\w+)", CODE, re.M)))
    message = message.replace("{functions}", functions)
    for name, line in places.items():
        message = message.replace(f"{{{name}}}", str(line))
    with pytest.raises(InputError, match=message) as caught:
        data.load(f"{file}:{function}")
    assert "\n" not in str(caught.value)


def test_a_stream_that_fails_later_is_one_line(file):
    loaded = data.load(f"{file}:broken_stream")
    assert loaded.input_shape == (3,)
    line = CODE.splitlines().index("        yield X / {}, Y") + 1
    with pytest.raises(InputError, match=f"line {line}: TypeError: unsupported operand"):
        list(loaded.train)


@pytest.mark.parametrize(
    ("code", "name", "message"),
    [
        ("def load(: pass", "load", r"d\.py line 1 is no Python: invalid syntax"),
        ("def laod(): pass", "load", "unknown function of .*: 'load': did you mean 'laod'"),
        (
            "import re\nfrom json import load as l\nx = 1\ndef a(k=1):\n    r = k\ndef b(): pass",
            "lod",
            "Known: a, b$",
        ),
        ("def load(): pass", "", r"d\.py:' lacks its function, as in d\.py:load"),
        ("x = 1 / 0\ndef load(): pass", "load", r"d\.py line 1: ZeroDivisionError: division by z"),
        (
            "import not_there\ndef load(): pass",
            "load",
            "line 1: ModuleNotFoundError: No module nam",
        ),
    ],
)
def test_files_that_are_refused(tmp_path, monkeypatch, code, name, message):
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "d.py").write_text(code)
    with pytest.raises(InputError, match=message) as caught:
        data.load(f"{tmp_path}/d.py:{name}") if "Error" in message else data.check_name(
            f"{tmp_path}/d.py:{name}"
        )
    assert "\n" not in str(caught.value)


def test_no_code_runs_to_check_a_name(tmp_path):
    (tmp_path / "d.py").write_text("raise RuntimeError\nload = print")
    data.check_name(f"{tmp_path}/d.py:load")
    with pytest.raises(InputError, match=r"there is no file '.*e\.py'"):
        data.check_name(f"{tmp_path}/e.py:load")


def test_names_that_others_have_too(file, tmp_path):
    """A file may be called as a module is; a scheme comes first."""
    for name, pattern in (
        ("C:/data/my.py:load", "module.py:function"),
        ("my.py", "module.py:function"),
        ("csv:my.py:load", "csv:PATH"),
        ("folder:my.py", "folder:PATH"),
        ("mnist", "<TFDS name>"),
    ):
        assert find_source(name)[0].pattern == pattern
    (tmp_path / "random.py").write_text("def load():\n    return [[1.0], [2.0]]")
    assert data.load(f"{tmp_path / 'random.py'}:load").examples == 1
    import random

    assert not hasattr(random, "load")
