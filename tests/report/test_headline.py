import dataclasses

import pytest

from tests.report.conftest import BITS, COMPRESSED
from tfcompress.report.headline import headline

UNKNOWN_SPREAD = {"file_latency_ratio_p10": None, "file_latency_ratio_p90": None}


def test_the_whole_sentence(run):
    assert headline(run()) == (
        "The xnor file is 3.6 times smaller and 2.1 times faster than the baseline, and lost 0.6 "
        "points of accuracy (0.9145 -> 0.9085 on 2,000 test images)."
    )


@pytest.mark.parametrize(
    ("size_bytes", "latency", "words"),
    [
        (10_000, 2.0, "is 3.6 times smaller but 2.0 times slower than the baseline,"),
        (72_000, 0.5, "is 2.0 times larger but 2.0 times faster than the baseline,"),
        (72_000, 1.1, "is 2.0 times larger and 1.10 times slower than the baseline,"),
        (36_100, 0.5, "is as large as the baseline and 2.0 times faster,"),
        (36_100, 3.0, "is as large as the baseline and 3.0 times slower,"),
        (36_000, 1.0, "is as large and as fast as the baseline,"),
        (10_000, 0.99, "is 3.6 times smaller than the baseline and as fast,"),
        (1_000, 0.01, "is 36 times smaller and 100 times faster than the baseline,"),
    ],
)
def test_size_and_speed(run, size_bytes, latency, words):
    result = run(file_size_bytes=size_bytes, file_latency_ratio=latency, **UNKNOWN_SPREAD)
    assert words in headline(result)


def test_rounds_that_disagree_are_no_difference(run):
    result = run(file_latency_ratio=0.9, file_latency_ratio_p10=0.7, file_latency_ratio_p90=1.05)
    assert "smaller than the baseline and as fast," in headline(result)


def test_unmeasured_speed_is_said(run):
    text = headline(run(file_latency_ratio=None, **UNKNOWN_SPREAD))
    assert text == (
        "The xnor file is 3.6 times smaller than the baseline, and lost 0.6 points of accuracy "
        "(0.9145 -> 0.9085 on 2,000 test images); its speed was not measured."
    )
    same = headline(run(file_latency_ratio=None, file_size_bytes=36_000, **UNKNOWN_SPREAD))
    assert "is as large as the baseline, and lost" in same


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        (0.9085, "and lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images)"),
        (0.9245, "and gained 1.0 points of accuracy (0.9145 -> 0.9245"),
        (0.9145, "and kept its accuracy (0.9145 -> 0.9145"),
        (0.9140, "and lost 0.05 points of accuracy (0.9145 -> 0.9140"),
        (0.1, "and lost 81.5 points of accuracy"),
    ],
)
def test_accuracy(run, accuracy, words):
    assert words in headline(run(file_accuracy=accuracy))


def test_unknown_number_of_images_is_left_out(run):
    assert headline(run(test_images=None)).endswith("(0.9145 -> 0.9085).")


@pytest.mark.parametrize(
    ("interval", "words"),
    [
        ((-1.1, -0.1), "lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images; 95% "
         "interval -1.1 to -0.1)."),
        ((-1.4, 0.2), "lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images; 95% "
         "interval -1.4 to +0.2: too few images to tell it from none)."),
    ],
)  # fmt: skip
def test_the_interval(run, interval, words):
    assert headline(run(file_accuracy_interval_points=interval)).endswith(words)


def test_several_files_and_where_they_run(run):
    assert headline(run(files=[COMPRESSED, BITS])) == (
        "The xnor network, anywhere (int8): 3.6 times smaller and 2.1 times faster than the "
        "baseline, and lost 0.6 points of accuracy (0.9145 -> 0.9085 on 2,000 test images); with "
        "1-bit kernels (xnor): 18.0 times smaller and 5.0 times faster than the baseline, and has "
        "the same accuracy."
    )
    plain = dataclasses.replace(BITS, needs="", storage="int4", accuracy=0.9)
    text = headline(run(files=[COMPRESSED, plain]))
    assert text.startswith("The xnor network, as int8: 3.6 times smaller")
    assert "; as int4: 18.0 times smaller" in text
    assert text.endswith("lost 1.4 points of accuracy (0.9145 -> 0.9000 on 2,000 test images).")


def test_a_failed_check_is_said(run):
    text = headline(run(file_failed_check="it differs", file_path="compressed-differs.tflite"))
    assert text.endswith("Written in spite of the check that it failed: compressed-differs.tflite.")


def test_no_file_and_why(run):
    text = headline(run(files=[], unwritten={"int8": "it differs too much"}))
    assert text == "The xnor network was not written as a file: int8: it differs too much."
