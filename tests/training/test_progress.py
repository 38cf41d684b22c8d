import io

import pytest

from tfcompress.training.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def row(epoch, seconds=10.0):
    return {
        "epoch": epoch,
        "loss": 0.1234,
        "train_error": 0.25,
        "test_error": 1.0,
        "seconds": seconds,
    }


def test_one_line_an_epoch_with_the_time_left():
    stream = io.StringIO()
    progress = Progress("xnor", 12, stream)
    progress.step(1, 1, 5)  # not on a pipe
    progress.epoch(row(1, 40.0))
    progress.epoch(row(12))
    first, last = stream.getvalue().splitlines()
    assert first == (
        "xnor       epoch  1/12  loss 0.123  train error 25.00%  test error 100.00%  "
        "40.0 s, 7 min 20 s left"
    )
    assert last.endswith("10.0 s")


def test_the_time_left_follows_the_last_three_epochs():
    stream = io.StringIO()
    progress = Progress("xnor", 10, stream)
    for number, seconds in enumerate((1000.0, 1.0, 2.0, 3.0), start=1):
        progress.epoch(row(number, seconds))
    assert stream.getvalue().splitlines()[-1].endswith("3.0 s, 12 s left")  # 6 epochs of 2 s


def test_a_terminal_has_a_bar_until_the_epoch_is_over(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    progress = Progress("xnor", 2, stream)
    for step in range(1, 6):
        progress.step(1, step, 5)
    drawn = stream.getvalue()
    assert "xnor       epoch 1/2" in drawn
    assert "step 5/5" in drawn
    # If nothing more comes, as after Ctrl-C, the cursor is there.
    assert drawn.rindex("\033[?25h") > drawn.rindex("\033[?25l")
    progress.epoch(row(1))
    rest = stream.getvalue().removeprefix(drawn)
    assert "\033[2K" in rest  # The bar's line is cleared.
    assert rest.endswith("10.0 s, 10 s left\n")
    progress.step(2, 1, 5)
    assert "xnor       epoch 2/2" in stream.getvalue().removeprefix(drawn + rest)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
