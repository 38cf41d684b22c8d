"""What is fuzzed: how an input is made from seeds, and what reads it.

A target's `make` gives the bytes of an input, from one generator. Its `read` gives "accepted" or
"refused"; whatever it raises is a finding.
"""

import contextlib
import dataclasses
import functools
import io
import pathlib
import random
import shutil
import unicodedata
from collections.abc import Callable

from tests.fuzz import inputs, zips

# An error is at most 4,000 characters, behind `error: `.
_LONGEST_LINE = 4010


class Broken(Exception):
    """A promise that an input broke, other than by an exception."""


@dataclasses.dataclass(frozen=True)
class Target:
    """One thing that reads strangers' files.

    Attributes:
        name: of the target.
        share: of all inputs, in percent.
        file: the input's name in its folder.
        make: makes an input.
        read: reads the input, whose path it is given.
        prepare: imports and remembers what all inputs need, before the first one.
    """

    name: str
    share: int
    file: str
    make: Callable[[random.Random], bytes]
    read: Callable[[pathlib.Path, random.Random], str]
    prepare: Callable[[], None] = lambda: None


def check_line(text: str) -> str:
    """What a person is told must be one line that a terminal shows as it is."""
    if len(text.splitlines()) != 1 or len(text) > _LONGEST_LINE:
        raise Broken(f"not one short line: {text[:3000]!r}")
    return check_text(text)


def check_text(text: str) -> str:
    wrong = {char for char in text if unicodedata.category(char) == "Cc" and char != "\n"}
    if wrong:
        raise Broken(f"control characters {wrong!r} in {text[:3000]!r}")
    return text


def command(main, *argv: str) -> str:
    """Runs a command as a terminal would: a refusal is status 2 and a line on stderr."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors)
                for errors in ("strict", "backslashreplace"))  # fmt: skip
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["command", *argv])
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(check_text(stream.buffer.getvalue().decode()))
    if status == 0:
        return "accepted"
    if status != 2 or not texts[1].startswith("error: ") or texts[1].count("\n") != 1 or texts[0]:
        raise Broken(f"status {status}, stdout {texts[0][:1000]!r}, stderr {texts[1][:1000]!r}")
    check_line(texts[1])
    return "refused"


def call(function, *args, **kwargs) -> str:
    """Calls a function of the API: a refusal is an error of ours with one line."""
    from tfcompress.errors import ExportError, InputError

    try:
        function(*args, **kwargs)
    except (InputError, ExportError) as error:
        check_line(str(error))
        return "refused"
    return "accepted"


def read_load(path, rng):
    from tfcompress.runtime import load

    return call(load, path)


def read_inspect(path, rng):
    from tfcompress import inspect

    return command(inspect.main, str(path), *rng.choice(([], ["--json"], ["--tensors"])))


def read_pack(path, rng):
    """Packs the file, or lists it beside a right one: neither tries it in a process of its own."""
    from tfcompress import compare, pack

    if rng.random() < 0.5:
        coder = rng.choice(("best", "bits", "huffman", "ans", "zstd"))
        return command(pack.main, str(path), str(path.parent / "m.tfz"), f"--coder={coder}")
    good = path.parent / "good.tflite"
    good.write_bytes(inputs.models()["int8"])
    return command(compare.main, *rng.choice(([str(good), str(path)], [str(path.parent)])))


def read_container(path, rng):
    from tfcompress import pack

    return command(pack.main, "--unpack", str(path), str(path.parent / "unpacked.tflite"))


def read_metadata(path, rng):
    from tfcompress.tflite import metadata

    return call(metadata.read, path)


def read_report(path, rng):
    """Compares the run, and shows it as the command does whose run is finished already."""
    from tfcompress import compare
    from tfcompress.report import write
    from tfcompress.report.read import read_report as read

    good = path.parent / "good"
    good.mkdir()
    (good / "report.json").write_bytes(inputs.reports()[0])
    # Pages with pictures take a hundred times as long as what stands in them.
    output = rng.choice(([], ["--output=.md"], ["--output=.csv"])[: rng.choice((1, 3))])
    if rng.random() < 0.05:
        output = ["--output=.html"]
    output = [option.replace("=", f"={path.parent}/table") for option in output]
    sort = rng.choice(([], [], ["--sort=accuracy"], ["--sort=latency"]))
    fate = command(compare.main, str(path.parent), str(good), *output, *sort)

    def show():
        result = read(path.parent)
        write.markdown(result, [])
        if rng.random() < 0.2:
            write.html(result, [])
        write.history_csv(result)
        write.json_text(result)
        if rng.random() < 0.02:
            from tfcompress.report import plots

            plots.pictures(result)

    shown = call(show)
    finished = _finished(path.parent)
    if fate == "accepted" and shown == "refused":
        raise Broken("read by the command compare, and refused as it is shown")
    return "accepted" if "accepted" in (fate, shown, finished) else "refused"


def _finished(folder):
    """Opens a run's folder as the command does, and prints the result that is there."""
    from tfcompress import report
    from tfcompress.pipeline.workspace import Workspace

    def main(_):
        with Workspace(folder, inputs.SETTINGS, {}, resume=True) as space:
            result = space.finished()
            if result:
                print(f"\n{report.headline(result)}\n\n{report.console_table(result)}\n")

    return command(functools.partial(_command, main))


def _command(run, argv):
    from tfcompress import commands

    return commands.run_command(run, argv)


def read_report_of_run(path, rng):
    (path.parent / "config.json").write_bytes(inputs.settings())
    return read_report(path, rng)


def read_settings(path, rng):
    (path.parent / "report.json").write_bytes(rng.choice(inputs.reports()))
    return _finished(path.parent)


def read_checkpoint(path, rng):
    """Resumes a training that had its last epoch already."""
    import keras

    from tfcompress.training import checkpoint as checkpoints
    from tfcompress.training.progress import Progress

    variables = [keras.Variable(keras.ops.zeros(shape)) for shape in inputs.STATE]

    def resume():
        progress = Progress("baseline", 2, io.StringIO())
        for row in checkpoints.load(path, variables, 2, tuple(inputs.ROWS[0])):
            progress.epoch(row)

    return call(resume)


# Preparations, in the process that forks the workers.


def prepare_models():
    import ai_edge_litert.interpreter
    import ai_edge_litert.tools.flatbuffer_utils  # noqa: F401

    from tfcompress import compare, inspect, kernels, pack  # noqa: F401
    from tfcompress.benchmark.machine import machine
    from tfcompress.runtime import load  # noqa: F401

    kernels.library()
    machine()
    for data in inputs.models().values():
        inputs.places(data)


def prepare_containers():
    prepare_models()
    inputs.containers()
    zips.zeros()


def prepare_metadata():
    prepare_models()
    zips.zeros()


def prepare_checkpoint():
    import tfcompress.training.checkpoint
    import tfcompress.training.progress  # noqa: F401

    zips.zeros(inputs.npy("<f4", (zips.BOMB_BYTES // 4,), b""))


def prepare_reports():
    from tfcompress import compare  # noqa: F401
    from tfcompress.report import picture, plots  # noqa: F401

    inputs.settings()
    picture.canvas(1, 1.0)  # Imports Matplotlib.


def clear(folder: pathlib.Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


TARGETS = {
    target.name: target
    for target in (
        Target("load", 16, "m.tflite", inputs.make_model, read_load, prepare_models),
        Target("inspect", 16, "m.tflite", inputs.make_model, read_inspect, prepare_models),
        Target("pack", 8, "m.tflite", inputs.make_model, read_pack, prepare_models),
        Target("metadata", 14, "m.tflite", inputs.make_described, read_metadata, prepare_metadata),
        Target("unpack", 16, "m.tfz", inputs.make_container, read_container, prepare_containers),
        Target(
            "report", 12, "report.json", inputs.make_report, read_report_of_run, prepare_reports
        ),
        Target("settings", 6, "config.json", inputs.make_settings, read_settings, prepare_reports),
        Target(
            "checkpoint", 12, "c.npz", inputs.make_checkpoint, read_checkpoint, prepare_checkpoint
        ),
    )
}
