"""Rows of results keep when and where they were measured, and are never measured again unasked."""

import json

import measurements
import pytest
from measurements import Measurements, conduct, parser, single
from page import Page

VERSIONS = {"tfcompress": "0.1.0", "keras": "3.0.0"}


class Bench:
    """Counts what is measured; each figure is that count."""

    def __init__(self, folder):
        self.folder, self.measured = folder, []

    def measure(self, key):
        self.measured.append(key)
        return {"ms": len(self.measured)}

    def run(self, *flags, keys=("one", "two"), date="2026-01-01", settings=None):
        flags = parser("Measures.").parse_args([f"--output={self.folder}", *flags])
        record = {"date": date, "cpu": "CPU", "cores": 2, "versions": VERSIONS, "command": "run"}
        steps = [single(key, self.measure, key) for key in keys]
        conduct(flags, steps, page_of, settings=settings, made=lambda: record)
        return (self.folder / "README.md").read_text()


def page_of(results):
    rows = [([key, str(row["ms"])], [key]) for key, row in results.rows.items()]
    return Page("Title", "Note.", ["net", "ms"], rows)


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "results")


def refused(bench, capsys, *flags, **more):
    """Returns the one line of a refusal, which measures nothing and leaves all files."""
    files = {path: path.read_bytes() for path in bench.folder.iterdir()}
    before = list(bench.measured)
    with pytest.raises(SystemExit) as ended:
        bench.run(*flags, **more)
    assert ended.value.code == 2
    assert bench.measured == before
    assert {path: path.read_bytes() for path in bench.folder.iterdir()} == files
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def test_one_record_is_one_line_and_several_are_a_column(bench):
    page = bench.run(keys=("one",))
    where = "CPU, 2 cores, processor's features not recorded"
    assert f"\n`run`, 2026-01-01, {where}; tfcompress 0.1.0, keras 3.0.0\n" in page
    assert "| one | 1  |" in page
    page = bench.run(date="2026-02-02")
    assert "\n1. `run`, 2026-01-01, CPU" in page
    assert "\n2. `run`, 2026-02-02, CPU" in page
    assert "| one | 1  | 1        |\n| two | 2  | 2        |" in page


def test_what_is_there_is_not_measured_again_unless_asked(bench, capsys):
    bench.run()
    line = refused(bench, capsys, date="2026-02-02")
    assert "holds all 2 rows, measured 2026-01-01; --render" in line
    page = bench.run("--again", date="2026-02-02")
    assert bench.measured == ["one", "two", "one", "two"]
    assert "measures 2 rows again" in capsys.readouterr().out
    assert "2026-01-01" not in page
    assert len(Measurements(bench.folder).made) == 1


def test_going_on_says_so(bench, capsys):
    bench.run(keys=("one",))
    assert "goes on" not in capsys.readouterr().out
    bench.run(keys=("one", "two", "three"))
    assert bench.measured == ["one", "two", "three"]
    said = capsys.readouterr().out
    assert f"goes on: {bench.folder}/runs.json holds 1 rows of 2026-01-01, 2 are missing" in said


def test_some_rows_are_measured_again_and_the_others_keep_their_date(bench):
    bench.run()
    page = bench.run("--again", keys=("two",), date="2026-02-02")
    assert bench.measured == ["one", "two", "two"]
    assert "| one | 1  | 1        |\n| two | 3  | 2        |" in page


def test_rendering_measures_nothing_and_changes_nothing(bench, monkeypatch):
    page = bench.run()
    monkeypatch.setattr(measurements, "machine", lambda: pytest.fail("asked for this machine"))
    assert bench.run("--render", date="2026-02-02") == page
    assert bench.measured == ["one", "two"]


def test_rendering_without_rows_is_refused(bench, capsys):
    bench.folder.mkdir()
    assert "holds no rows to render" in refused(bench, capsys, "--render")


def test_other_settings_are_not_mixed(bench, capsys):
    bench.run(settings={"runs": 100})
    line = refused(bench, capsys, keys=("one", "two", "three"), settings={"runs": 50})
    assert "was measured with {'runs': 100}, not {'runs': 50}" in line
    refused(bench, capsys, "--again", keys=("one",), settings={"runs": 50})
    bench.run("--again", settings={"runs": 50})
    assert Measurements(bench.folder).settings == {"runs": 50}


def test_a_row_may_bring_its_own_record(bench):
    made = {"date": "2025-12-31", "cpu": "CPU", "cores": 1, "versions": {}, "command": "earlier"}
    bench.measure = lambda key: {"ms": 1, "made": made}
    assert "`earlier`, 2025-12-31, CPU, 1 cores" in bench.run()


def test_the_record_of_today_names_the_machine(monkeypatch):
    monkeypatch.setattr("sys.argv", ["experiments/x.py", "--work=/home/me", "--again"])
    record = measurements.made_here(work="DIR")
    assert record["command"] == ".venv/bin/python experiments/x.py --work=DIR"
    assert {"date", "cpu", "features", "cores", "versions"} <= set(record)
    assert json.loads(json.dumps(record)) == record
