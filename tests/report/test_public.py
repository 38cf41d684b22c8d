"""What people read names no folder of the machine that it was made on."""

import dataclasses
import json

import pytest

from tfcompress.report import write_all
from tfcompress.report.public import without_folders


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("run --dataset=folder:/home/me/pictures", "run --dataset=folder:pictures"),
        ("run '--model=/home/me/my nets/a.keras'", "run --model=a.keras"),
        ("run --dataset=/home/me/data.py:load", "run --dataset=data.py:load"),
        ("run --set weights=/home/me/w.h5", "run --set weights=w.h5"),
        ("run --benchmark=cpu,delegate:/opt/d.so", "run --benchmark=cpu,delegate:d.so"),
        ("run --output_dir=out --set width=0.5", "run --output_dir=out --set width=0.5"),
        ("run --model='unfinished", "run --model='unfinished"),
    ],
)
def test_a_command(run, command, shown):
    assert without_folders(dataclasses.replace(run(), command=command)).command == shown


def test_pages_name_no_folder_and_the_report_does(run, tmp_path):
    folder = "/home/me/pictures"
    local = dataclasses.replace(
        run(),
        model="/home/me/my.keras",
        dataset=f"folder:{folder}",
        command=f"run --dataset=folder:{folder} --model=/home/me/my.keras",
    )
    texts = {path.name: path for path in write_all(local, tmp_path) if path.suffix != ".png"}
    for name, path in texts.items():
        assert ("/home/me" in path.read_text()) == (name == "report.json"), name
    assert json.loads(texts["report.json"].read_text())["dataset"] == f"folder:{folder}"
