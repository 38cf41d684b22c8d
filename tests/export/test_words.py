"""Numbers several to a word, and the table that a file unpacks them by."""

import hypothesis
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import strategies
from hypothesis.extra import numpy as arrays

from tests.export.handmade import Dense, binary, save
from tfcompress.export import words
from tfcompress.tflite.editor import Editor

BASES = (2, 3, 4, 5, 8, 13, 32, 181, 200)


@hypothesis.given(
    strategies.sampled_from(BASES),
    arrays.arrays(np.int64, strategies.integers(1, 100), elements=strategies.integers(0, 10**6)),
)
def test_packs_so_many_digits_a_word_the_first_highest(base, values):
    values, count = values % base, words.digits(base)
    found = words.pack(values, base)
    assert found.dtype == np.int16
    assert len(found) == -(-len(values) // count)
    for place, value in enumerate(values):
        assert int(found[place // count]) // base ** (count - 1 - place % count) % base == value
    assert int(found[-1]) % base ** (-len(values) % count) == 0
    assert (found >= 0).all()


@pytest.mark.parametrize("base", BASES[:-1])
def test_a_file_unpacks_them_as_it_is_loaded(base, tmp_path):
    """The largest word, and numbers that don't fill the last one."""
    values = np.random.default_rng(base).integers(0, base, (7, 8))
    values[0] = base - 1
    editor, ops = Editor(save(tmp_path / "m.tflite", (1, 3), Dense(binary((2, 3))))), []
    table = words.table(editor, base, ops)
    unpacked = words.unpacked(editor, words.pack(values, base), table, values.shape, ops)
    editor.graph.tensors[unpacked].name = b"unpacked"
    editor.graph.outputs = [*editor.graph.outputs, unpacked]
    editor.first(ops)
    editor.write(tmp_path / "m.tflite")
    interpreter = Interpreter(str(tmp_path / "m.tflite"))
    interpreter.allocate_tensors()
    (found,) = (d["index"] for d in interpreter.get_output_details() if d["name"] == "unpacked")
    np.testing.assert_array_equal(interpreter.get_tensor(found), values)
