import pytest

from tests.tflite.made import content, op, tensor
from tfcompress.tflite import versions
from tfcompress.tflite.content import read
from tfcompress.tflite.versions import first_version, needed_version, oldest, release_of


@pytest.mark.parametrize(
    ("made", "release", "because"),
    [
        (op("RESHAPE", tensor(), tensor("int32")), "1.5.0", "any op"),
        (op("CONV_2D", tensor(), tensor(constant=True)), "1.5.0", "any op"),
        (op("CONV_2D", tensor("int8"), tensor("int8", scales=8), version=3), "1.14.0", "CONV_2D 3"),
        # What the version hides, the types say.
        (op("CONV_2D", tensor(), tensor("int8", scales=8)), "2.4.0", "CONV_2D 5"),
        (op("FULLY_CONNECTED", tensor(), tensor("int8", scales=1)), "1.14.0", "FULLY_CONNECTED 3"),
        (op("FULLY_CONNECTED", tensor(), tensor("int8", scales=9)), "2.17.0", "FULLY_CONNECTED 12"),
        (op("FULLY_CONNECTED", tensor(), tensor("int2")), "2.21.0", "int2 tensors"),
        (op("CALL_ONCE"), "2.5.0", "CALL_ONCE 1"),
        # Measured: tflite-runtime 2.12 refuses int16 positions, 2.13 takes them.
        (op("GATHER", tensor(), tensor("int16")), "2.13.0", "GATHER 6"),
        # 2.9 gives other outputs than 2.10 and all later ones.
        (
            op("FULLY_CONNECTED", tensor("int8"), tensor("int8", scales=9), version=4),
            "2.10.0",
            "FULLY_CONNECTED of integers with a scale a filter",
        ),
        (
            op("FULLY_CONNECTED", tensor("int8"), tensor("int8", scales=1)),
            "1.14.0",
            "FULLY_CONNECTED 4",
        ),
        # 2.11 doesn't find the version, 2.12 runs.
        (
            op("CONV_2D", tensor("int8"), tensor("int4", scales=8), version=7),
            "2.12.0",
            "int4 tensors",
        ),
        # 2.13 gives NaN, 2.16 other numbers, 2.18 and LiteRT 1.1 the right ones.
        (
            op("FULLY_CONNECTED", tensor(), tensor("int4"), version=9),
            "2.18.0",
            "FULLY_CONNECTED of float32 and int4",
        ),
        # TensorFlow 2.18 and LiteRT 1.0 refuse it, 2.19 and 1.1 run.
        (
            op("FULLY_CONNECTED", tensor("int8"), tensor("int4"), version=10),
            "2.19.0",
            "FULLY_CONNECTED of int8 and int4",
        ),
    ],
)
def test_the_oldest_runtime(made, release, because):
    found = oldest(content(op("ADD", tensor(), tensor()), made))
    assert (found.release, found.because, found.unknown) == (release, because, ())


def test_the_newest_op_decides():
    found = oldest(content(op("CALL_ONCE"), op("SIGN", tensor()), op("CALL_ONCE")))
    assert str(found) == "TensorFlow Lite 2.11.0, LiteRT 1.0"


@pytest.mark.parametrize(
    ("made", "said"), [(op("CUSTOM:Mine"), "CUSTOM:Mine 1"), (op("ADD", version=99), "ADD 99")]
)
def test_what_the_table_lacks_is_said(made, said):
    found = oldest(content(op("SIGN", tensor()), made))
    assert found.unknown == (said,)
    assert str(found).startswith("at least TensorFlow Lite 2.11.0")


@pytest.mark.parametrize(
    ("made", "litert"),
    [
        (op("ADD"), "1.0"),
        (op("FULLY_CONNECTED", tensor("int8"), tensor("int4")), "1.1"),
        (op("FULLY_CONNECTED", tensor(), tensor("int4")), "1.1"),
        (op("FULLY_CONNECTED", tensor(), tensor("int2")), "2.1.2"),
        (op("TRANSPOSE", version=8), None),
    ],
)
def test_litert(made, litert):
    assert oldest(content(made)).litert == litert


def test_the_tables_agree():
    """Every version that a type asks for is in the table of releases."""
    for rules in versions._BY_TYPE.values():
        assert all(release_of(name, version) for name, version in rules.items())
    for name, rules in versions._PRODUCTS.items():
        assert all(release_of(name, version) for pair in rules.values() for version in pair)
    for name, releases in versions.RELEASES.items():
        numbers = [versions._parts(release) for release in releases if release != "-"]
        assert numbers == sorted(numbers), name


def test_left_out_inputs():
    assert first_version("FULLY_CONNECTED", ["int8", "int8", ""], scales=1) == 4
    assert first_version("SPLIT", ["int32", "int8"]) == 2
    assert needed_version(op("CALL_ONCE")) == 1


def test_the_converters_own_versions_are_high_enough(tiny):
    for path in (tiny.path, tiny.int8_path):
        assert all(found.version >= needed_version(found) for found in read(path).ops)
    assert oldest(read(tiny.int8_path)).unknown == ()
