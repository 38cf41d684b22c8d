"""What a run would do, told without a training and without a file."""

import dataclasses
import re

import numpy as np
import pytest

import tfcompress
from tests.pipeline.test_stages import config
from tfcompress import models, run
from tfcompress.errors import InputError
from tfcompress.pipeline.dry_run import dry_run
from tfcompress.pipeline.plan import plan


def test_says_layers_bytes_and_macs_and_leaves_nothing(picture_folder, tmp_path, capsys):
    words = [
        "run", f"--dataset=folder:{picture_folder}", "--image_size=16", "--set=width=0.25",
        "--dry_run", f"--output_dir={tmp_path / 'a' / 'b'}",
    ]  # fmt: skip
    assert run.main(words) == 0
    printed = capsys.readouterr().out
    assert "Trains on 64 images: baseline 10 epochs, xnor 20 epochs." in printed
    assert re.search(r"^conv2 +Conv2D +binarised +", printed, re.M)
    assert re.search(r"^conv1 +Conv2D +kept +", printed, re.M)
    assert "Nothing was trained or written." in printed
    assert list(tmp_path.iterdir()) == []
    sizes = dict(re.findall(r"^(baseline|int8|xnor) +[\d,]+ +[\d.,]+ +([\d.,]+)", printed, re.M))
    # As a run's own file, but that constants of zeros, such as untrained biases, stand there once.
    settings = ["--epochs=1", "--storage=float32", f"--output_dir={tmp_path / 'run'}"]
    assert run.main([*(word for word in words[:-2]), *settings]) == 0
    kib_of_run = (tmp_path / "run" / "baseline.tflite").stat().st_size / 1024
    assert kib_of_run - 1.2 < float(sizes["baseline"]) < kib_of_run
    assert float(sizes["xnor"]) < float(sizes["int8"]) < float(sizes["baseline"])


def test_what_does_not_fit_is_refused_in_a_line(picture_folder, tmp_path, capsys):
    settings = config(picture_folder, tmp_path / "out", storage="float16", dry_run=True)
    with pytest.raises(InputError, match="storage float16 rounds the weights before the signs"):
        dry_run(plan(settings))
    settings = config(picture_folder, tmp_path / "out", storage="sparse", technique="bwn")
    text = dry_run(plan(settings))
    assert re.search(r"^sparse .* - +- +\w+", text, re.M)
    assert not (tmp_path / "out").exists()


def test_bits_that_no_training_changes_are_counted(picture_folder, tmp_path):
    """8 bits in every layer, in the file that has 4 otherwise."""
    options = {"width": "0.25", "bits": "8"}
    out = tmp_path / "out"
    settings = config(picture_folder, out, technique="sqnr", storage=None, options=options)
    text = dry_run(plan(dataclasses.replace(settings, rounding="gptq")))
    assert "compressed.tflite: weights of few bits are rounded so that" in text
    (kib,) = re.findall(r"^int8_int4 +[\d,]+ +[\d.,]+ +([\d.]+)", text, re.M)
    model = models.build("vgg_small", (16, 16, 3), 2, width=0.25)
    x = np.random.default_rng(0).normal(size=(20, 16, 16, 3)).astype("float32")
    int8 = tfcompress.export(model, tmp_path / "m.tflite", storage="int8", calibration=x, io="int8")
    assert 0.5 < float(kib) - int8.size_bytes / 1024 < 1.6  # The metadata.
