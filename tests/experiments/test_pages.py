"""Every page of results is what its experiment makes of the committed rows."""

import pathlib

import pytest
import readme
from measurements import FILE, Measurements, rendered

ROOT = pathlib.Path(__file__).parents[2]
RESULTS = ROOT / "experiments" / "results"
# A second class of machines has a folder inside of the first's.
FOLDERS = sorted({path.parent for name in (FILE, "README.md") for path in RESULTS.rglob(name)})
FOLDERS += sorted({path.parent for path in (ROOT / "tflite_models").rglob(FILE)})


each_folder = pytest.mark.parametrize(
    "folder", FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT))
)


@each_folder
def test_a_page_is_rendered_from_its_rows(folder):
    assert (folder / FILE).exists(), "a page without rows"
    assert rendered(folder) == (folder / "README.md").read_text()


@each_folder
def test_every_row_says_when_and_where_it_was_measured(folder):
    results = Measurements(folder)
    assert results.rows or "No row is measured yet." in (folder / "README.md").read_text()
    for record in results.records(results.rows):
        assert {"date", "cpu", "cores", "versions", "command"} <= set(record)
        assert "commit" in record or "committed" in record


@each_folder
def test_no_private_folders(folder):
    for path in (folder / FILE, folder / "README.md"):
        assert not any(word in path.read_text() for word in ("/tmp/", "/home/", "/root/"))


def test_the_page_of_few_bits_has_its_table():
    text = readme.BITS_PAGE.read_text()
    assert readme.bits_page(text) == text
    kept = Measurements(RESULTS / "few_bits_techniques")
    table = text.partition("<!-- few bits:")[2].partition("<!-- end of few bits -->")[0]
    lines = [line for line in table.splitlines() if line.startswith("| `")]
    assert len(lines) == len({key.rpartition(", seed ")[0] for key in kept.rows})
