"""Users' models by techniques and storages: what is committed holds, and is said truly."""

import any_model
import pytest
import readme
from any_model_tables import FOR, KINDS, RESULTS, expected, models_of
from measurements import Measurements
from user_models import MODELS

from tfcompress import techniques
from tfcompress.export import storages

# A column of each kind that is cheap to measure again.
COLUMNS = (("technique", "bwn"), ("storage", "float16"), ("storage", "int8"))
kept = Measurements(RESULTS)


def test_the_page_is_rendered_from_the_rows():
    text = readme.MODELS_PAGE.read_text()
    assert readme.models_page(text) == text


def test_the_tables_name_techniques_and_storages():
    assert set(FOR) <= set(techniques.names())
    assert set(KINDS["storage"]) <= set(storages.names())
    assert set(models_of(kept)) <= set(MODELS)


def test_what_a_user_would_expect():
    assert expected("technique", "prune", [])
    assert expected("technique", "svd", ["LSTM", "Dense"])
    assert not expected("technique", "svd", ["LSTM"])
    assert not expected("technique", "cp", ["Conv2D 1x1", "Dense"])
    assert not expected("technique", "spatial", ["Conv1D"])
    assert expected("storage", "1bit", ["SeparableConv2D"])
    assert not expected("storage", "lce", ["Conv2D"])


def test_no_row_is_a_traceback_and_four_in_five_expected_ones_work():
    assert {row["outcome"] for row in kept.rows.values()} <= {"works", "refused"}
    assert not [key for key, row in kept.rows.items() if "\n" in row.get("text", "")]
    for kind, names in KINDS.items():
        outcomes = [
            kept[any_model.key_of(model, kind, name)]["outcome"]
            for model in models_of(kept)
            for name in names
            if any_model.key_of(model, kind, name) in kept
            if expected(kind, name, kept[f"{model}, technique, baseline"]["layers"])
        ]
        assert outcomes.count("works") >= 0.8 * len(outcomes)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_cheap_column_is_as_it_was(model, tmp_path):
    cells = any_model.Cells(model, tmp_path / "model")
    for kind, name in COLUMNS:
        row = cells.measured(kind, name)
        assert row["outcome"] in ("works", "refused"), row
        before = kept.rows.get(any_model.key_of(model, kind, name))
        if before is not None:
            assert row["outcome"] == before["outcome"], row
            assert row.get("relative_rms", 0) <= max(2 * before.get("relative_rms", 0), 1e-5)
