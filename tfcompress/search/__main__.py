"""The command `python -m tfcompress.search`: which compression keeps a budget of yours."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from absl import flags

from tfcompress import commands, run
from tfcompress.allocator import keep_freed_memory
from tfcompress.errors import require
from tfcompress.search.budget import KINDS, parse_budgets
from tfcompress.search.settings import ENGINES, GOALS, SearchSettings

USAGE = """Tries techniques, their chains and options, and finds the files that keep a budget.

  python -m tfcompress.search --budget size=100KiB --budget drop=0.5
  python -m tfcompress.search --budget size=0.1 --budget latency=0.5 --budget drop=0.5 --trials=40
  python -m tfcompress.search --budget latency=0.3 --model=my.keras --dataset=folder:photos
  python -m tfcompress.search --budget size=0.2 --techniques=channels,cp,prune,lsq --epochs=5
  python -m tfcompress.search --budget size=0.2 --workers=2
  python -m tfcompress.search --budget latency=0.3 --engine=greedy

Each network is written untrained first, in every storage that it can have, and timed beside the
float file: one over the budget is never trained. The others are trained on the training images but
a thousand, by which they are chosen. The best are then trained on all by python -m tfcompress.run,
with several seeds, and judged on the test images, once. A search that was stopped goes on when the
same command is given again.

--engine=greedy narrows the layers instead, one in each step, by what its file measures (NetAdapt,
Yang et al. 2018, arXiv:1804.03230), and needs no Optuna.

Exit status: 0 done, 2 bad usage or bad input, 130 stopped by Ctrl-C.

Flags:"""


def parser() -> flags.FlagValues:
    """Returns the command's flags."""
    values = commands.new_flags()
    default = SearchSettings()
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    kinds = "; ".join(f"{kind}: {what}" for kind, what in KINDS.items())
    flags.DEFINE_multi_string("budget", [], f"repeatable. {kinds}", flag_values=values)
    flags.DEFINE_enum("goal", None, GOALS, "what is best within the budgets (default: size if "
                      "drop is budgeted, else accuracy)", values)  # fmt: skip
    flags.DEFINE_enum("engine", default.engine, ENGINES, "optuna draws chains of techniques, "
                      "greedy narrows layers step by step", values)  # fmt: skip
    number("trials", default.trials, "how many to make; of greedy, steps at most",
           flag_values=values)  # fmt: skip
    flags.DEFINE_float("step", default.step, "of greedy: what a step takes off, as a share of what "
                       "the whole network takes", flag_values=values)  # fmt: skip
    number("short_steps", default.short_steps, "of greedy: training steps of each narrower network "
           "that is looked at", flag_values=values)  # fmt: skip
    text("techniques", None, "comma-separated, what is tried (default: all that --list of "
         "python -m tfcompress.run shows with values to search)", values)  # fmt: skip
    number("finalists", default.finalists, "how many of the best are trained on all images",
           flag_values=values)  # fmt: skip
    number("seeds", default.seeds, "with how many seeds each", flag_values=values)
    number("workers", default.workers, "processes that try at once", flag_values=values)
    text("study", None, "a database that several machines share, as in postgresql://host/name; "
         "the same command is started on each, the password stands in the environment "
         "(default: a file in the output folder)", values)  # fmt: skip
    text("join", None, "a search's folder, for its worker processes", values)
    run.define_inputs(values)
    run.define_training(values)
    text("output_dir", None, "default: tflite_models/<model>_<dataset>_search", values)
    return values


def execute(argv: Sequence[str]) -> None:
    """Parses the flags, searches, and prints what was found."""
    values = parser()
    arguments = commands.parse_arguments(values, argv, USAGE)
    if arguments is None:
        return
    require(not arguments, f"'{arguments[0] if arguments else ''}' isn't a flag; see --help")
    keep_freed_memory()
    # Before TensorFlow is loaded: its C++ reads them once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    settings = None if values.join is not None else _settings(values)
    from tfcompress.files import quiet

    with quiet():
        from tfcompress.search import command
    if settings is None:
        command.join(values.join)
    else:
        command.search(settings)


def _settings(values: flags.FlagValues) -> SearchSettings:
    """Returns the flags as settings.

    Raises:
        InputError: a budget that can't be, or none.
    """
    names = SearchSettings.__dataclass_fields__
    given = {name: values[name].value for name in names if name in values}
    techniques = given.pop("techniques")
    parse_budgets(given["budget"])
    return SearchSettings(
        **{**given, "budget": tuple(given["budget"])},
        techniques=None if techniques is None else tuple(t.strip() for t in techniques.split(",")),
        config=run.to_config(values),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_resumable(execute, argv)


if __name__ == "__main__":
    sys.exit(main())
