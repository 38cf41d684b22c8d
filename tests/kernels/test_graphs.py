"""Dense layers, pooling, and ops of ours among the runtime's own."""

import concurrent.futures
import pathlib

import numpy as np
import pytest

from tests.kernels import op_files
from tests.kernels.op_files import CONV, DENSE, POOL, Case, Writer


def random_signs(rng, *shape):
    return op_files.signs(rng.standard_normal(shape))


def dense_case(channels, units):
    return Case((1, 1, 1), channels, units, (1, 1), pads=(0, 0, 0, 0))


@pytest.mark.parametrize("shape", [(1, 300), (7, 65), (2, 3, 31), (20,)])
def test_dense(kernel, shape):
    rng = np.random.default_rng(1)
    kernel_values = random_signs(rng, 70, shape[-1])
    scale, bias = rng.standard_normal((2, 70)).astype("float32")
    writer = Writer()
    inputs = [writer.input(shape), writer.constant(op_files.packed(kernel_values))]
    inputs += [writer.constant(scale), writer.constant(bias)]
    options = dense_case(shape[-1], 70).options()
    writer.op(DENSE, options, inputs, [writer.output((*shape[:-1], 70))])
    x = rng.standard_normal(shape).astype("float32")
    got = op_files.run(op_files.interpreter(writer.bytes(), kernel), x)[0]
    sums = op_files.signs(x) @ kernel_values.T
    np.testing.assert_array_equal(got, sums.astype("float32") * scale + bias)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 0, 1)])
def test_max_pooling_of_bits(fastest, pads):
    rng = np.random.default_rng(2)
    case = Case((2, 7, 6), 40, 40, (2, 3), (2, 1), pads=pads)
    x, flip = random_signs(rng, 2, 7, 6, 40), random_signs(rng, 40)
    height, width = case.out_size()
    writer = Writer()
    inputs = [writer.input((2, 7, 6, 2), "int32"), writer.constant(op_files.words(flip))]
    writer.op(POOL, case.options(), inputs, [writer.output((2, height, width, 2), "int32")])
    got = op_files.run(op_files.interpreter(writer.bytes(), fastest), op_files.words(x))[0]
    # The smallest of turned channels is the largest of their opposites, turned back.
    padded = np.pad(
        (x * flip).astype("float32"), [(0, 0), pads[:2], pads[2:], (0, 0)],
        constant_values=-np.inf,
    )  # fmt: skip
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), axis=(1, 2))[:, ::2]
    np.testing.assert_array_equal(got, op_files.words(windows.max((-1, -2)) * flip))


def chain(rng, channels=64):
    """Float in, conv to bits, pooled, conv to floats, and a stock op on both ends."""
    first, second = Case((1, 8, 8), channels, 96), Case((1, 4, 4), 96, channels)
    kernels = [random_signs(rng, c.filters, 3, 3, c.channels) for c in (first, second)]
    threshold = rng.integers(-30, 30, 96).astype("int32")
    scale, bias = rng.standard_normal((2, channels)).astype("float32")
    writer = Writer()
    x = writer.input((1, 8, 8, channels))
    before, bits, pooled, y = (
        writer.tensor((1, 8, 8, channels)), writer.tensor((1, 8, 8, 3), "int32"),
        writer.tensor((1, 4, 4, 3), "int32"), writer.tensor((1, 4, 4, channels)),
    )  # fmt: skip
    operators = writer.schema.BuiltinOperator
    writer.op(operators.NEG, None, [x], [before])
    inputs = [before, writer.constant(op_files.packed(kernels[0])), -1, -1]
    writer.op(CONV, first.options(), [*inputs, writer.constant(threshold)], [bits])
    pool = Case((1, 8, 8), 96, 96, (2, 2), (2, 2), pads=(0, 0, 0, 0))
    writer.op(POOL, pool.options(), [bits], [pooled])
    inputs = [pooled, writer.constant(op_files.packed(kernels[1]))]
    inputs += [writer.constant(scale), writer.constant(bias)]
    writer.op(CONV, second.options(), inputs, [y])
    writer.op(operators.NEG, None, [y], [writer.output((1, 4, 4, channels))])

    def expected(x):
        bits = np.where(op_files.sums(first, op_files.signs(-x), kernels[0]) < threshold, -1, 1)
        pooled = bits.reshape(len(x), 4, 2, 4, 2, 96).max((2, 4))
        sums = op_files.sums(second, pooled, kernels[1])
        return -(sums.astype("float32") * scale + bias)

    return writer.bytes(), expected


def test_packed_bits_go_from_op_to_op(kernel):
    rng = np.random.default_rng(7)
    content, expected = chain(rng)
    made = op_files.interpreter(content, kernel, 2)
    for batch in (1, 3):
        x = rng.standard_normal((batch, 8, 8, 64)).astype("float32")
        np.testing.assert_array_equal(op_files.run(made, x)[0], expected(x))


def test_the_runtime_keeps_its_own_ops(fastest):
    made = op_files.interpreter(chain(np.random.default_rng(7))[0], fastest)
    made.allocate_tensors()
    taken = [op for op in made._get_ops_details() if op["op_name"] == "DELEGATE"]
    ends = [(int(op["inputs"][0]), int(op["outputs"][0])) for op in taken]
    # Ours one by one; then XNNPACK, which is a delegate, too, the stock ops at both ends.
    assert ends == [(1, 2), (2, 3), (3, 4), (0, 1), (4, 10)]


def test_two_interpreters_share_a_delegate(fastest):
    from ai_edge_litert.interpreter import Interpreter

    from tfcompress import kernels

    content, expected = chain(np.random.default_rng(7))
    delegate = kernels.delegate(fastest)
    made = [
        Interpreter(model_content=content, num_threads=2, experimental_delegates=[delegate])
        for _ in range(2)
    ]
    x = [np.random.default_rng(n).standard_normal((1, 8, 8, 64)).astype("float32") for n in (1, 2)]

    def often(number):
        return all(
            np.array_equal(op_files.run(made[number], x[number])[0], expected(x[number]))
            for _ in range(20)
        )

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(often, (0, 1))) == [True, True]


@pytest.mark.slow
def test_tensorflow_has_the_same_interpreter(fastest):
    lite = pytest.importorskip("tensorflow").lite
    from tfcompress import kernels

    rng = np.random.default_rng(8)
    content, expected = chain(rng)
    made = lite.Interpreter(
        model_content=content,
        experimental_delegates=[lite.experimental.load_delegate(str(kernels.library()))],
    )
    x = rng.standard_normal((1, 8, 8, 64)).astype("float32")
    np.testing.assert_array_equal(op_files.run(made, x)[0], expected(x))


@pytest.mark.slow
def test_thousands_of_interpreters_leave_nothing_behind(fastest):
    content, expected = chain(np.random.default_rng(9))
    x = np.ones((1, 8, 8, 64), "float32")
    statm = pathlib.Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("no /proc here")
    pages = []
    for _ in range(6):
        for _ in range(500):
            got = op_files.run(op_files.interpreter(content, fastest, 2), x)[0]
        np.testing.assert_array_equal(got, expected(x))
        pages.append(int(statm.read_text().split()[1]))
    # A leak shows every time: of the weights alone it would be 2,000 pages. What the allocator
    # sets aside for a new thread comes now and then.
    assert min(np.diff(pages)) < 20
