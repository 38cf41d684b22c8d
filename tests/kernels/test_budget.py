"""Small files that ask for much: one line is said, and neither memory nor time grows with what they
claim. Each is loaded in one fresh process, whose peak says what it took.
"""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.kernels import op_files
from tests.kernels.op_files import CONV, Case, Writer

ATTACK = """
import json, sys
from ai_edge_litert.interpreter import Interpreter, load_delegate

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

said, before = [], peak()
for path in sys.argv[2:]:
    try:
        made = Interpreter(path, num_threads=1, experimental_delegates=[load_delegate(sys.argv[1])])
        made.allocate_tensors()
        said.append("")
    except (RuntimeError, ValueError) as error:
        said.append(str(error))
    made = None
print(json.dumps({"said": said, "kib": peak() - before}))
"""


def repeated(count, case, weight_bytes, x=None, chain=False):
    """A file of like ops that share their constants: `count` of them cost it 170 bytes each."""
    writer = Writer()
    before = writer.input((*case.shape, case.channels) if x is None else x)
    constants = [writer.constant(np.zeros(weight_bytes, "uint8"))]
    constants += [writer.constant(np.ones(case.filters, "float32")) for _ in range(2)]
    for number in range(count):
        after = writer.tensor((*case.shape, case.filters))
        if number == 0:
            writer.op(CONV, case.options(), [before, *constants], [after])
        else:
            op = writer.schema.OperatorT()
            op.opcodeIndex, op.inputs, op.outputs = 0, [before, *constants], [after]
            op.customOptions = list(case.options())
            writer.graph.operators.append(op)
        before = after if chain else before
    writer.graph.outputs = [after]
    return writer.bytes()


# What each file would make the kernels hold, if they believed it.
ATTACKS = {
    # 3 GB: six inputs of one pixel, with 5,700 pixels around it.
    "padding": (
        Case((1, 1, 1), 1, 1, (2, 2), (2**15, 2**15), (11000, 11000), (5700,) * 4),
        6, 1, "needs more memory than the delegate may take for this file: 64 MiB",
    ),
    # As much, with the window in the padding.
    "windows of padding": (
        Case((1, 1, 1), 1, 1, (1, 1), (2**15, 2**15), pads=(5792,) * 4),
        6, 1, "a pad is as large as the dilated kernel, or larger",
    ),
    # 9 MB of tables for each of 100 ops.
    "tables": (
        Case((1, 64, 64), 1, 4, (64, 64), pads=(63,) * 4, pad_value=0),
        100, 2048, "needs more memory than the delegate may take for this file: 64 MiB",
    ),
    # 1 MB of weights for each of 100 ops that share the file's 512 bytes.
    "weights": (
        Case((1, 64, 64), 1, 1, (64, 64), pads=(0,) * 4),
        100, 512, "needs more memory than the delegate may take for this file: 64 MiB",
    ),
}  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
def test_small_files_take_little(fastest, tmp_path):
    from tfcompress import kernels

    paths, lines = [], []
    for name, (case, count, weight_bytes, line) in ATTACKS.items():
        paths.append(tmp_path / f"{name}.tflite")
        paths[-1].write_bytes(repeated(count, case, weight_bytes))
        assert paths[-1].stat().st_size < 1000 + 200 * count
        lines.append(line)
    done = subprocess.run(
        [sys.executable, "-c", ATTACK, str(kernels.library()), *map(str, paths)],
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    found = json.loads(done.stdout)
    for said, line in zip(found["said"], lines, strict=True):
        assert said.startswith("tfcompress: TfcXnorConv2D 't")
        assert line in said
        assert "\n" not in said
    assert found["kib"] < 100 << 10  # The budget, and the interpreter with XNNPACK.


def test_what_a_net_needs_is_there(fastest):
    """A thousand layers; and large pictures, whose bits the layers hold in turns."""
    many = repeated(1000, Case((1, 28, 28), 32, 32), 32 * 9 * 4, chain=True)
    op_files.interpreter(many, fastest).allocate_tensors()
    large = repeated(64, Case((1, 2160, 3840), 64, 64), 64 * 9 * 8)
    made = op_files.interpreter(large, fastest)
    made.allocate_tensors()
    made.resize_tensor_input(0, (3, 1080, 1920, 64))
    made.allocate_tensors()


def test_interpreters_of_one_delegate_share_its_budget(fastest):
    from ai_edge_litert.interpreter import Interpreter

    from tfcompress import kernels

    delegates = [kernels.delegate(fastest)]
    half = repeated(4, ATTACKS["tables"][0], 2048)
    one, other = (Interpreter(model_content=half, experimental_delegates=delegates) for _ in "ab")
    one.allocate_tensors()
    with pytest.raises(RuntimeError, match="64 MiB for all its ops"):
        other.allocate_tensors()
    del one, other
    for _ in range(3):  # What an interpreter held is given back with it.
        Interpreter(model_content=half, experimental_delegates=delegates).allocate_tensors()


def test_a_graph_of_very_many_ops(fastest):
    content = repeated(2049, Case((1, 1, 1), 32, 32, (1, 1), pads=(0,) * 4), 128, chain=True)
    with pytest.raises(
        RuntimeError, match=r"^tfcompress: 2049 1-bit ops, but .* at most 2047 are taken"
    ):
        op_files.interpreter(content, fastest).allocate_tensors()


def test_a_name_is_shown_without_what_a_terminal_obeys(fastest):
    writer = Writer()
    x = writer.input((1, 5, 5, 8))
    writer.op(CONV, Case().options(), [x], [writer.output((1, 5, 5, 8))])
    writer.graph.tensors[-1].name = b"a\x1b[2Jb\n" + 300 * b"c"
    with pytest.raises(RuntimeError) as caught:
        op_files.interpreter(writer.bytes(), fastest).allocate_tensors()
    assert f"'a?[2Jb?{73 * 'c'}'" in str(caught.value)
