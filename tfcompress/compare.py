"""The command `python -m tfcompress.compare`: many runs, or `.tflite` files, in one table."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tfcompress import commands, data, files
from tfcompress.errors import InputError, require
from tfcompress.options import parse_assignments
from tfcompress.report import compared, compared_files
from tfcompress.report.read import REPORT, read_report
from tfcompress.runtime import agreement
from tfcompress.tflite import content

USAGE = """Joins the reports of finished runs, or any .tflite files, into one table.

  python -m tfcompress.compare runs/xnor runs/cp --sort=accuracy
  python -m tfcompress.compare runs/* --output=runs.html
  python -m tfcompress.compare a.tflite b.tflite --images=FOLDER
  python -m tfcompress.compare a.tflite b.tflite --dataset=csv:houses.csv --set target=price
  python -m tfcompress.compare tflite_models/*

Of folders that python -m tfcompress.run wrote: training step, inference, size and accuracy of each
file, and their ratios to the run's own baseline. Of .tflite files, or folders with some and no
report: sizes; and with --images the accuracy, the share of labels that are the first file's, and
the largest difference of a probability from its; with --dataset a metric on its held-out examples.
What is neither is passed over.
Exit status: 0 done, 2 bad usage, a file that can't be used, or nothing to compare.

Flags:"""
ENDINGS = (".md", ".csv", ".html")


def parser() -> flags.FlagValues:
    """Returns the command's flags, apart from absl's global ones."""
    values = commands.new_flags()
    flags.DEFINE_string(
        "output",
        None,
        f"a file ending in {', '.join(ENDINGS)}; Markdown on stdout without it",
        flag_values=values,
    )
    flags.DEFINE_string(
        "sort",
        None,
        f"runs by {', '.join(compared.SORTS)} (default: as given)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "images",
        None,
        "a folder of images to run the .tflite files on; those in folders named as a label of the "
        "files tell the accuracy",
        flag_values=values,
    )
    flags.DEFINE_string(
        "dataset",
        None,
        "data to judge the .tflite files on, as python -m tfcompress.run takes them, other than "
        "images with classes",
        flag_values=values,
    )
    flags.DEFINE_string(
        "metric", None, "by which, a name of Keras's (default: as fits the targets)", values
    )
    flags.DEFINE_multi_string(
        "set", [], "key=value, repeatable: an option of the data set", flag_values=values
    )
    return values


def run(argv: Sequence[str]) -> None:
    """Parses the flags, reads all reports or files, writes the table.

    Raises:
        InputError: bad usage, or nothing that can be compared; nothing is written.
    """
    values = parser()
    paths = commands.parse_arguments(values, argv, USAGE)
    if paths is None:
        return
    output = _output(values.output)
    _check(values, paths)
    runs = [path for path in paths if os.path.isfile(os.path.join(path, REPORT))]
    files_given = any(os.path.isfile(path) and path.endswith(".tflite") for path in paths)
    if runs and not files_given and values.images is None and values.dataset is None:
        used, what = runs, f"{len(runs)} runs"
        text = _runs_compared(runs, values.sort, output)
    else:
        require(values.sort is None, "--sort is for the folders of finished runs")
        found = {path: _tflite_files(path) for path in paths}
        used = [path for path in paths if found[path]]
        paths_of_files = [file for path in used for file in found[path]]
        require(
            len(paths_of_files) > 0,
            f"nothing to compare in {', '.join(paths)}: give folders of finished runs, which have "
            f"a {REPORT}, or .tflite files",
        )
        what = f"{len(paths_of_files)} files"
        lines, about = (
            _on_images(paths_of_files, values.images)
            if values.dataset is None
            else _on_data(paths_of_files, values)
        )
        text = _files_text(lines, about, output)
    if passed_over := [path for path in paths if path not in used]:
        which = f"no {REPORT} of a finished run" if used is runs else "no .tflite file"
        print(f"passed over, with {which}: {', '.join(passed_over)}", file=sys.stderr)
    if output is None:
        print(text, end="")
        return
    try:
        files.write(output, text)
    except OSError as error:
        raise InputError(f"--output: {output} can't be written: {error}") from error
    print(f"{what} in {output}")


def _check(values: flags.FlagValues, paths: Sequence[str]) -> None:
    """Refuses flags that don't fit one another, and files and folders that aren't there."""
    require(
        len(paths) > 0,
        "give at least one folder of a finished run, or .tflite files; see --help",
    )
    require(
        values.sort is None or values.sort in compared.SORTS,
        f"--sort takes one of {', '.join(compared.SORTS)}; got '{values.sort}'",
    )
    require(
        values.images is None or values.dataset is None,
        "--images is for classifiers of images and --dataset for other files: give one of them",
    )
    require(
        values.dataset is not None or not (values.metric or values.set),
        "--metric and --set are for --dataset",
    )
    for path in paths:
        require(
            os.path.exists(path),
            f"no file or folder {path}: give folders of finished runs, or .tflite files",
        )


def _output(name: str | None) -> Path | None:
    """Returns the file to write, if one is asked for and can be."""
    if name is None:
        return None
    output = Path(name)
    require(
        output.suffix in ENDINGS,
        f"--output takes a file ending in {', '.join(ENDINGS)}; got '{output}'",
    )
    require(
        output.absolute().parent.is_dir(),
        f"--output: the folder {output.absolute().parent} doesn't exist",
    )
    return output


def _runs_compared(folders: Sequence[str], sort: str | None, output: Path | None) -> str:
    """Writes the table of finished runs in the output's format."""
    lines = compared.lines([(folder, read_report(folder)) for folder in folders], sort)
    suffix = output.suffix if output else ".md"
    write = {".csv": compared.comma_separated, ".html": compared.html}.get(
        suffix, compared.markdown
    )
    return write(lines)


def _on_images(paths: Sequence[str], folder: str | None) -> tuple[list[compared_files.Line], str]:
    """Returns the lines of `.tflite` files, the first of which is the reference, and a note."""
    images, names = _images(folder) if folder is not None else ([], [])
    lines: list[compared_files.Line] = []
    reference = None
    labelled = 0
    for line in _lines(paths):
        if images:
            classified = agreement.classify(line.file, images)
            reference = reference or classified
            labelled = labelled or sum(classified.known(names))
            found = agreement.compare(classified, reference, names)
            line = dataclasses.replace(line, **dataclasses.asdict(found))
        lines.append(line)
    return lines, compared_files.note(len(images), labelled)


def _on_data(
    paths: Sequence[str], values: flags.FlagValues
) -> tuple[list[compared_files.Line], str]:
    """Returns the lines of `.tflite` files that are judged on a data set, and a note."""
    options = parse_assignments(values.set)
    data.check_name(values.dataset)
    lines = _lines(paths)
    from tfcompress.pipeline.file_judging import judge_files

    judged = judge_files(paths, values.dataset, metric=values.metric, options=options)
    about = compared_files.note_on_data(values.dataset, judged[0].examples, judged[0].metric)
    return [
        dataclasses.replace(
            line, metric=found.metric, value=found.value, relative_rms=found.relative_rms
        )
        for line, found in zip(lines, judged, strict=True)
    ], about


def _lines(paths: Sequence[str]) -> list[compared_files.Line]:
    """Returns what the files themselves tell; sizes are compared with the first one's."""
    lines: list[compared_files.Line] = []
    for path in paths:
        inputs = content.read(path).inputs
        size_bytes = os.path.getsize(path)
        lines.append(
            compared_files.Line(
                number=len(lines) + 1,
                file=path,
                takes=", ".join(f"{x.dtype} {'x'.join(map(str, x.shape))}" for x in inputs),
                size_bytes=size_bytes,
                size_ratio=size_bytes / (lines[0].size_bytes if lines else size_bytes),
            )
        )
    return lines


def _files_text(lines: Sequence[compared_files.Line], about: str, output: Path | None) -> str:
    """Writes the table of `.tflite` files in the output's format."""
    suffix = output.suffix if output else ".md"
    write = {".csv": compared_files.comma_separated, ".html": compared_files.html}.get(
        suffix, compared_files.markdown
    )
    return write(lines, about)


def _images(folder: str) -> tuple[list[Path], list[str]]:
    """Returns the image files below a folder, and the name of the folder that each lies in."""
    from tfcompress.data.files import image_files

    require(os.path.isdir(folder), f"--images: {folder} is not a folder")
    paths = image_files(Path(folder))
    require(len(paths) > 0, f"--images: there are no images in {folder}")
    return paths, [path.parent.name for path in paths]


def _tflite_files(path: str) -> list[str]:
    """Returns a `.tflite` file itself, or those right in a folder; none of anything else."""
    if not os.path.isdir(path):  # Pipes too, so that they are named as no file.
        return [path] if path.endswith(".tflite") else []
    return [os.path.join(path, name) for name in sorted(os.listdir(path))
            if name.endswith(".tflite")]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_command(run, argv)


if __name__ == "__main__":
    sys.exit(main())
