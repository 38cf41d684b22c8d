import pytest

from tests.tflite.made import content, op, tensor
from tfcompress.tflite import compatibility
from tfcompress.tflite.content import read


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (op("CUSTOM:FlexErf", tensor()), "CUSTOM:FlexErf isn't a built-in op"),
        (op("CONV_2D", tensor(), tensor("int2")), "2-bit weights crashes"),
        (op("BATCH_MATMUL", tensor(), tensor("int8")), "right side that isn't constant"),
        (op("CONV_2D", tensor("int8"), tensor("int4"), version=3), "version 3 with 4-bit weights"),
        (op("FULLY_CONNECTED", tensor("int8"), tensor("int4"), version=4), "which version 10"),
    ],
)
def test_what_no_file_should_hold(made, text):
    (issue,) = compatibility.never(content(op("ADD", tensor(), tensor()), made, made))
    assert text in str(issue)
    assert str(issue).endswith(" (at 'out' and 1 more)")


@pytest.mark.parametrize(
    "made",
    [
        op("FULLY_CONNECTED", tensor(), tensor("int2"), version=14),
        op("FULLY_CONNECTED", tensor(), tensor("int4"), version=9),
        op("CONV_2D", tensor("int8"), tensor("int4"), version=7),
        op("BATCH_MATMUL", tensor(), tensor("int8", constant=True)),
        op("BATCH_MATMUL", tensor(), tensor()),
    ],
)
def test_what_is_right(made):
    assert compatibility.never(content(made)) == []


def test_versions_that_promise_too_much():
    low = op("FULLY_CONNECTED", tensor(), tensor("int8", scales=4), version=3)
    (issue,) = compatibility.old(content(low))
    assert "says version 3 and has types of version 12" in issue.text
    right = op("FULLY_CONNECTED", tensor(), tensor("int8", scales=4), version=12)
    assert compatibility.old(content(right)) == []


image = tensor(shape=(1, 8, 8, 32))


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (op("CALL_ONCE"), "CALL_ONCE isn't among a GPU's ops"),
        (op("CONV_2D", image, tensor("int4", constant=True)), "int4 weights"),
        (op("CONV_2D", image, tensor(shape=(8, 3, 3, 32))), "computed weights"),
    ],
)
def test_what_a_gpu_leaves_out(made, text):
    (issue,) = compatibility.gpu(content(made))
    assert text in issue.text


@pytest.mark.parametrize(
    "made",
    [
        op("CONV_2D", image, tensor(shape=(8, 3, 3, 8), constant=True)),
        op("CONV_2D", image, tensor(shape=(8, 3, 3, 32), constant=True)),
        op("GATHER_ND", tensor(), folded=True),  # It is computed before.
        op("VAR_HANDLE", subgraph=1),
    ],
)
def test_what_a_gpu_takes(made):
    assert compatibility.gpu(content(made)) == []


def test_real_files(tiny):
    for path in (tiny.path, tiny.int8_path):
        found = read(path)
        assert (compatibility.never(found), compatibility.old(found), compatibility.gpu(found)) == (
            [],
            [],
            [],
        )
