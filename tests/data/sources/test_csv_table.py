import os

import numpy as np
import pytest

from tfcompress import data
from tfcompress.data import table
from tfcompress.errors import InputError

HOUSES = """id;rooms;city;"a ""quoted""
name";price
1;3;Oslo;"two
lines";1,5
2;5;Bergen;x;2,5

3;4;Oslo;"semi;colon";3,5
4;;Bergen;x;4,5
5;6;?;x;5,5
"""


def write(path, text, encoding="utf-8-sig"):
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return path


@pytest.fixture
def houses(tmp_path):
    return write(tmp_path / "houses.csv", HOUSES)


def load(path, **options):
    return data.load(f"csv:{path}", options=options)


def joined(loaded):
    """All rows as they are split: inputs and targets."""
    return [np.concatenate([loaded.train[at], loaded.test[at]]) for at in (0, 1)]


def test_a_table_as_offices_write_them(houses):
    """A byte order mark, semicolons, commas in numbers, quoted line breaks, empty cells."""
    options = {"target": ("price",), "ignore": ("id",), "decimal": ",", "missing": "fill"}
    loaded = load(houses, standardize=False, **options)
    assert loaded.describe() == (
        f"csv:{houses}: 4 training and 1 test rows, 3 columns as 6 inputs, target price"
    )
    x, y = joined(loaded)
    order = np.argsort(y[:, 0])
    np.testing.assert_allclose(y[order, 0], [1.5, 2.5, 3.5, 4.5, 5.5])
    # Rooms; then Bergen and Oslo; then the three names in their order.
    train_rooms = [value for value in loaded.train.x[:, 0] if value in (3, 4, 5, 6)]
    mean = np.mean(train_rooms)
    np.testing.assert_allclose(x[order, 0], [3, 5, 4, mean, 6], rtol=1e-6)
    np.testing.assert_array_equal(x[order, 1:3], [[0, 1], [1, 0], [0, 1], [1, 0], [0, 0]])
    names = [column["name"] for column in loaded.preparation["columns"]]
    assert names == ["rooms", "city", 'a "quoted"\r\nname']
    assert loaded.preparation["columns"][2]["one_hot"] == ["semi;colon", "two\r\nlines", "x"]
    assert loaded.split == "At random, 20% for testing, seed 0."
    assert loaded.local
    assert loaded.public_name == "csv:houses.csv"


def test_numbers_are_standardised_by_the_training_rows(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.normal(50, 9, 40), np.full(40, 0.1), rng.normal(size=(40, 2))])
    text = "a,same,y,z\n" + "\n".join(",".join(map(repr, map(float, row))) for row in rows)
    path = write(tmp_path / "t.csv", text)
    options = {"target": ("z", "y"), "keep": ("same",)}
    raw = load(path, standardize=False, **options)
    loaded = load(path, **options)
    assert raw.train.x.dtype == raw.train.y.dtype == np.float32
    mean, std = raw.train.x[:, 0].mean(), raw.train.x[:, 0].std()
    np.testing.assert_allclose(loaded.test.x[:, 0], (raw.test.x[:, 0] - mean) / std, rtol=1e-4)
    np.testing.assert_allclose(loaded.test.x[:, 1], 0, atol=1e-6)
    # In the order that they were asked for, and in their own range.
    first = rows[np.isin(rows[:, 3].astype("float32"), loaded.train.y[:, 0])]
    np.testing.assert_allclose(np.sort(loaded.train.y[:, 1]), np.sort(first[:, 2]), rtol=1e-6)
    mean = loaded.train.y.mean(0)
    np.testing.assert_allclose(loaded.model_options["output_mean"], mean, atol=1e-6)
    assert loaded.num_outputs == 2


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ("abab" * 5, "auto", ("a", "b")),
        ("3131" * 5, "auto", ("1", "3")),
        ("3131" * 5, "regression", None),
        ([*range(10)] * 2, "auto", tuple(map(str, range(10)))),
        ([0.5, 1.5] * 10, "auto", None),
        ([0.5, 1.5] * 10, "classification", ("0.5", "1.5")),
        ([*range(20)], "auto", None),
    ],
)
def test_what_the_target_is(tmp_path, values, task, classes):
    text = "x,y\n" + "\n".join(f"{at / 3},{value}" for at, value in enumerate(values))
    loaded = load(write(tmp_path / "t.csv", text), target=("y",), task=task)
    assert loaded.class_names == classes
    x, y = joined(loaded)
    assert (len(x), loaded.test_examples) == (20, 10 if classes and len(classes) == 10 else 4)
    if classes:
        assert y.dtype == np.int32
        assert len(classes) == loaded.num_outputs
        assert set(loaded.train.y) == set(loaded.test.y) == set(range(len(classes)))


def test_row_numbers_and_columns_of_one_value_are_left_out(tmp_path):
    rows = [f"{at},c{at},{at / 8},{at},x,7,{at % 3},{at}.5" for at in range(20)]
    text = "id,CustomerId,size,grid,unit,same,other_id,y\n" + "\n".join(rows)
    path = write(tmp_path / "t.csv", text)
    loaded = load(path, target=("y",))
    kept = [column["name"] for column in loaded.preparation["columns"]]
    assert kept == ["size", "grid", "other_id"]
    assert loaded.describe() == (
        f"csv:{path}: 16 training and 4 test rows, 3 columns, target y; left out: 'id' (a "
        "different value in every row), 'CustomerId' (a different value in every row), 'unit' (one "
        "value in all rows), 'same' (one value in all rows)"
    )
    every = load(path, target=("y",), text="codes", keep=("id", "CustomerId", "unit", "same"))
    assert every.input_shape == (7,)
    assert "left out" not in every.describe()


def test_texts_as_numbers_and_numbers_as_texts(tmp_path):
    text = "code,place,y\n" + "\n".join(f"{7 + at % 2},{'ba'[at % 2]},{at}.5" for at in range(30))
    path = write(tmp_path / "t.csv", text)
    options = {"target": ("y",), "categorical": ("code",), "standardize": False}
    loaded = load(path, **options)
    assert loaded.train.x.shape == (24, 4)
    np.testing.assert_array_equal(loaded.train.x[:, :2], loaded.train.x[:, 3:1:-1])
    loaded = load(path, text="codes", **options)
    np.testing.assert_array_equal(loaded.train.x[:, 1], 1 - loaded.train.x[:, 0])
    assert loaded.preparation["columns"][1] == {"name": "place", "codes": ["a", "b"]}


def test_rows_with_empty_cells_are_left_out(houses):
    options = {"target": ("price",), "ignore": ("id",), "decimal": ",", "missing": "drop"}
    loaded = load(houses, **options)
    assert len(joined(loaded)[0]) == 3


GOOD = "a,b,y\n1,u,0.5\n2,v,1.5\n3,u,2.5\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (GOOD, {"target": ()}, "say which column is to be predicted, as in --set target=y; its co"),
        (GOOD, {"target": ("Y",)}, "no column 'Y', which target names: .*columns are a, b, y"),
        (GOOD, {"ignore": ("bb",)}, "no column 'bb', which ignore names: did you mean 'b'"),
        (GOOD, {"ignore": ("y",)}, "the target 'y' can't be ignored"),
        (GOOD, {"ignore": ("a", "b")}, "no columns left to predict from"),
        (GOOD, {"target": ("b",), "task": "regression"}, "'b' is text .such as 'u'., and regress"),
        (GOOD, {"target": ("b", "y")}, "'b' is text .such as 'u'., and several targets must be n"),
        (GOOD, {"target": ("b",)}, "class 'v' has 1 row: to split off test rows it needs 2"),
        ("", {}, "the table is empty: its first line must name the columns"),
        ("a,b,y\n", {}, "no rows below the header"),
        ("a,y\n1,2.5\n", {}, "the target 'y' has one value in all 1 rows"),
        ("a,y\n1,u\n2,u\n", {}, "the target 'y' has one value in all 2 rows"),
        ("1.5,2\n3,4\n", {}, "must name the columns; got the numbers 1.5, 2"),
        ("a,a,y\n1,2,3\n", {}, "two columns are called 'a'"),
        (GOOD + "4,u\n", {}, "line 5 has 2 cells, and the header names 3 columns"),
        (
            GOOD + "4,u,\n",
            {"missing": "fill"},
            "line 5, column 'y': the cell is empty; mend it, or",
        ),
        (GOOD + "nan,u,4\n", {}, "line 5, column 'a': the cell is empty; .*missing=fill"),
        (GOOD + "1e999,u,4\n", {}, "line 5, column 'a': '1e999' isn't finite"),
        ("a,y\n" + "1,2.5\n" * 20 + "1O,3\n", {}, "line 22, column 'a': '1O' is no number, as 20"),
        ("a,e,y\n1,,3\n2,,4\n", {}, "column 'e' is empty: leave it out"),
        ('a,y\n1,"' + "x" * 200_000, {}, "can't be read after line 1: field larger than"),
        ("a,y\n" + "9" * (1 << 20), {}, "line 2 is longer than 1 MiB"),
        ("a,y\n" + "\n".join(f"t{n},{n}.5" for n in range(201)), {}, "'a' has 201 different texts"),
        ("a;y\n" + "\n".join(f"1.{n},5;{n}.5" for n in range(30)), {"decimal": ","}, "in 30 rows"),
    ],
)
def test_bad_tables(tmp_path, text, options, message):
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(InputError, match=message) as caught:
        load(path, **{"target": ("y",), **options})
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "can't be ignored" in str(caught.value)


def test_text_of_another_encoding(tmp_path):
    path = write(tmp_path / "t.csv", "ort,y\nKöln,1.5\nUlm,2.5\nKöln,3\n", "latin-1")
    with pytest.raises(InputError, match=r"no text of encoding utf-8: .*encoding=latin-1"):
        load(path, target=("y",))
    loaded = load(path, target=("y",), encoding="latin-1")
    assert loaded.preparation["columns"][0]["one_hot"] == ["Köln", "Ulm"]
    with pytest.raises(InputError, match="encoding 'utf-99' isn't known"):
        load(path, target=("y",), encoding="utf-99")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_spreadsheets_write_above_the_header(tmp_path, encoding):
    path = write(tmp_path / "t.csv", "sep=|\na,b|y\n1|2.5\n3|4.5\n", encoding)
    loaded = load(path, target=("y",))
    assert loaded.preparation["columns"][0]["name"] == "a,b"
    path = write(tmp_path / "t.csv", "sep=|\na|y\n1|2.5\n3\n", encoding)
    with pytest.raises(InputError, match="line 4 has 1 cells"):
        load(path, target=("y",))


def test_a_table_larger_than_the_memory(tmp_path, monkeypatch):
    path = write(tmp_path / "t.csv", GOOD)
    monkeypatch.setattr(table, "MEMORY_BUDGET_BYTES", 60)
    with pytest.raises(
        InputError, match=r"more than 2 rows of 3 columns, which take more than 0 M"
    ):
        load(path, target=("y",))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "::"}, "delimiter must be one character; got '::'"),
        ({"decimal": ""}, "decimal must be one character"),
        ({"test_fraction": 1.5}, r"test_fraction must be in \(0, 1\)"),
    ],
)
def test_bad_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        load(write(tmp_path / "t.csv", GOOD), target=("y",), **options)


def test_a_target_is_several_names(tmp_path):
    with pytest.raises(InputError, match="target takes values with commas between them; got 'y'"):
        load(write(tmp_path / "t.csv", GOOD), target="y")


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for name, message in (("", "is a folder"), ("pipe.csv", "is a pipe, socket or device")):
        with pytest.raises(InputError, match=message):
            data.check_name(f"csv:{tmp_path / name}")
