import pytest

from tfcompress import turns


@pytest.fixture(autouse=True)
def locks_of_its_own(monkeypatch, tmp_path_factory):
    """A search beside the tests neither waits for them nor keeps them waiting."""
    monkeypatch.setattr(turns, "user_cache", lambda: tmp_path_factory.getbasetemp() / "cache")
