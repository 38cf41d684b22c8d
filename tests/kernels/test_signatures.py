"""One file with two signatures: stock ops by default, ours where the delegate is."""

import numpy as np
import pytest

from tests.kernels import float_files, op_files
from tests.kernels.float_files import Net
from tests.kernels.test_xnor_ops import chain, rewritten
from tfcompress.config import InputError
from tfcompress.export import signatures


@pytest.fixture
def joined(tmp_path):
    net = Net(0, (1, 11, 9, 20))
    outputs, _ = chain(net)
    first, second = tmp_path / "float.tflite", tmp_path / "xnor.tflite"
    first.write_bytes(net.done(*outputs))
    rewritten(first.read_bytes(), second)
    path = tmp_path / "both.tflite"
    signatures.join(first, second, path, "xnor")
    return first, second, path


def test_both_signatures(fastest, joined):
    from ai_edge_litert.interpreter import Interpreter

    first, second, path = joined
    assert path.stat().st_size < first.stat().st_size + second.stat().st_size
    x = float_files.image(np.random.default_rng(3), (1, 11, 9, 20))
    wanted = op_files.run(Interpreter(str(first)), x)[0]
    # Without the delegate the file is an ordinary one, and says that it has a second signature.
    stock = Interpreter(str(path))
    np.testing.assert_array_equal(op_files.run(stock, x)[0], wanted)
    assert set(stock.get_signature_list()) == {"serving_default", "xnor"}
    fast = op_files.interpreter(path.read_bytes(), fastest)
    (name,) = fast.get_signature_list()["xnor"]["inputs"]
    for signature in ("xnor", "serving_default", "xnor"):
        # Copies: a view of the interpreter's memory would keep it from running again.
        (got,) = [y.copy() for y in fast.get_signature_runner(signature)(**{name: x}).values()]
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(op_files.run(fast, x)[0], wanted)


def test_more_graphs_than_one(joined, tmp_path):
    first, _, path = joined
    with pytest.raises(InputError, match="has 2 graphs, not one"):
        signatures.join(first, path, tmp_path / "x.tflite", "xnor")
    assert not (tmp_path / "x.tflite").exists()
