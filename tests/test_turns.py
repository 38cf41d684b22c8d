"""Trainings wait at the end of a step while another process times files."""

import threading

from tfcompress.turns import Turns


def test_timing_waits_for_the_step_and_the_next_step_for_the_timing(tmp_path):
    trainer, timer = Turns(tmp_path), Turns(tmp_path)
    order, asked = [], threading.Event()

    def time_files():
        asked.set()
        with timer.timing():
            order.append("timed")

    with trainer.training():
        thread = threading.Thread(target=time_files)
        thread.start()
        asked.wait()
        order.append("step")
        while "timed" not in order:  # Each passage gives the other one a chance.
            trainer.pause()
        order.append("next step")
    thread.join()
    assert order[0] == "step"
    assert order.index("timed") < order.index("next step")
    with timer.timing(), Turns(tmp_path / "other").training():
        pass  # Others have locks of their own.
    trainer.close()
    timer.close()
