"""The convolution in the stock interpreter against NumPy's integers, bit for bit."""

import numpy as np
import pytest

from tests.kernels import op_files, random_cases
from tests.kernels.op_files import Case

UNITS = ("signs", "bytes", "levels")


@pytest.mark.parametrize("unit", UNITS)
def test_random_configurations(kernel, unit):
    for number in range(16):
        random_cases.check(number, kernel, unit)


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_five_hundred_configurations(kernel, unit):
    for number in range(500):
        random_cases.check(number, kernel, unit)


@pytest.mark.parametrize("sign", [-1, 1])
def test_no_sum_of_bytes_overflows(kernel, sign):
    """The largest window: 65,536 times 255 times 127."""
    case = Case((1, 1, 7), 65_536, 17, (1, 1), pads=(0, 0, 0, 0), pad_value=0)
    op = random_cases.Op(case, np.random.default_rng(8), of_bytes=True)
    op.kernel[:] = 127 * sign
    op.threshold[:] = sign * (127 * 65_536 * (255 - 77)) + np.arange(17) % 3 - 1
    x = np.full((1, 1, 7, 65_536), 255, "uint8")
    got = op_files.run(op_files.interpreter(op.bits_file("uint8"), kernel), x)[0]
    np.testing.assert_array_equal(got, op.bits(x, "uint8"))


@pytest.mark.parametrize(
    ("size", "channels", "filters"),
    [(7, 512, 512), (1, 4097, 1), (1, 20001, 8), (3, 1, 129), (9, 33, 47)],
)
def test_sizes_at_the_edges_of_words_and_blocks(kernel, size, channels, filters):
    rng = np.random.default_rng(3)
    op = random_cases.Op(Case((1, size, size), channels, filters, pad_value=0), rng)
    x = op.input("float32")
    made = op_files.interpreter(op.bits_file("float32"), kernel, threads=2)
    np.testing.assert_array_equal(op_files.run(made, x)[0], op.bits(x, "float32"))


@pytest.mark.parametrize("pixels", [31, 32, 35, 216, 217, 248, 433])
@pytest.mark.parametrize(("channels", "kernel_w"), [(3, 1), (40, 2), (33, 5)])
def test_rows_as_long_as_tiles(kernel, pixels, channels, kernel_w):
    """AVX2 counts 32 to 216 pixels at once, 6 words of their windows at a time: of 1, 4 and 10."""
    shape = (1, 1, pixels + 2 * (kernel_w - 1))
    case = Case(shape, channels, 97, (1, kernel_w), dilations=(1, 2), pads=(0, 0, 0, 0))
    op = random_cases.Op(case, np.random.default_rng(9))
    x = op.input("float32")
    assert case.out_size() == (1, pixels)
    made = op_files.interpreter(op.bits_file("float32"), kernel)
    np.testing.assert_array_equal(op_files.run(made, x)[0], op.bits(x, "float32"))
    made = op_files.interpreter(op.numbers_file("float32", "float32", None, None), kernel)
    (wanted,) = op.numbers(x, "float32", "float32", None, None)
    np.testing.assert_array_equal(op_files.run(made, x)[0], wanted)


def test_thresholds_at_the_ends(kernel):
    op = random_cases.Op(Case((1, 4, 4), 5, 6), np.random.default_rng(4))
    n = 9 * 5
    op.threshold = np.array([-(2**31), -n, -n + 1, n, n + 1, 2**31 - 1], "int32")
    op.kernel[:] = 1
    x = np.ones((1, 4, 4, 5), "float32")
    x[0, 0] = -1
    made = op_files.interpreter(op.bits_file("float32"), kernel)
    for values in (x, -np.ones_like(x)):
        np.testing.assert_array_equal(op_files.run(made, values)[0], op.bits(values, "float32"))


@pytest.mark.parametrize(("size", "channels"), [(5, 64), (5, 8192), (8, 64), (8, 7264), (8, 8192)])
def test_no_count_overflows_where_every_sign_differs(kernel, size, channels):
    """AVX2 counts in 8 and 16 bits, whose limits random signs don't reach.

    9 pixels are 6, 2 and 1; 36 are a tile if their windows have 2,047 words at most: 9 times 227.
    """
    case = Case((1, size, size), channels, 33, pads=(0, 0, 0, 0))
    op = random_cases.Op(case, np.random.default_rng(8))
    n = 9 * channels
    op.kernel[:] = -1
    op.kernel[1] = 1
    op.threshold[:] = -n + np.arange(33) % 3 - 1
    op.scale[:], op.bias[:] = 1, 0
    x = np.ones((1, size, size, channels), "float32")
    made = op_files.interpreter(op.numbers_file("float32", "float32", None, None), kernel)
    wanted = np.where(np.arange(33) == 1, n, -n).astype("float32")
    got = op_files.run(made, x)[0]
    np.testing.assert_array_equal(got, np.broadcast_to(wanted, (1, size - 2, size - 2, 33)))
    made = op_files.interpreter(op.bits_file("float32"), kernel)
    np.testing.assert_array_equal(op_files.run(made, x)[0], op.bits(x, "float32"))


@pytest.mark.parametrize(("size", "channels"), [(5, 64), (8, 64), (8, 2400), (8, 2500)])
def test_no_count_of_levels_overflows(kernel, size, channels):
    """Tiles of AVX2 hold three times the words of 682: 9 times 75, not 79, of 32 channels."""
    case = Case((1, size, size), channels, 33, pads=(0, 0, 0, 0), pad_value=0, in_bits=2)
    op = random_cases.Op(case, np.random.default_rng(8))
    op.kernel[:] = -1
    op.scale[:], op.bias[:] = 1, 0
    made = op_files.interpreter(op.numbers_file("float32", "float32", None, None), kernel)
    for level, value in enumerate([-9, *op.levels]):
        x = np.full((1, size, size, channels), value, "float32")
        assert op_files.run(made, x)[0].max() == -9 * channels * max(
            level, (op.levels <= value).sum()
        )


def test_what_is_no_number_is_negative(kernel):
    op = random_cases.Op(
        Case((1, 1, 1), 40, 3, (1, 1), pads=(0, 0, 0, 0)), np.random.default_rng(5)
    )
    op.kernel[:] = 1
    x = np.zeros((1, 1, 1, 40), "float32")
    x[..., ::4], x[..., 1::4], x[..., 2::4] = np.nan, -0.0, -1e-45
    op.threshold[:] = 0
    assert op.sums(x, "float32").max() == 40 - 2 * 20
    got = op_files.run(op_files.interpreter(op.bits_file("float32"), kernel), x)[0]
    np.testing.assert_array_equal(got, op.bits(x, "float32"))


def test_same_results_in_a_second_interpreter_and_on_more_threads(fastest):
    op = random_cases.Op(Case((1, 28, 28), 64, 128), np.random.default_rng(6))
    x = op.input("float32")
    content = op.numbers_file("float32", "float32", None, "affine")
    one, many = (op_files.run(op_files.interpreter(content, fastest, t), x) for t in (1, 4))
    for values, others in zip(one, many, strict=True):
        np.testing.assert_array_equal(values, others)
