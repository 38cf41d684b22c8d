import gzip
import os

import numpy as np
import pytest

from tfcompress.benchmark import sizes
from tfcompress.errors import InputError


def test_against_the_file_system_and_gzip(tmp_path):
    path = tmp_path / "m.tflite"
    content = np.random.default_rng(0).integers(0, 4, 10_000, dtype=np.uint8).tobytes()
    path.write_bytes(content)
    assert sizes.size_bytes(path) == os.path.getsize(path) == 10_000
    assert sizes.gzip_bytes(path) == len(gzip.compress(content, 9, mtime=0))
    assert sizes.gzip_bytes(path) < 5_000


def test_one_file_has_one_gzip_size(tmp_path, monkeypatch):
    path = tmp_path / "m.tflite"
    path.write_bytes(bytes(range(256)) * 10)
    before = sizes.gzip_bytes(path)
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert sizes.gzip_bytes(path) == before


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"absent\.tflite can't be read"):
        sizes.size_bytes(tmp_path / "absent.tflite")
