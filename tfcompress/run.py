"""Makes a network small and fast, and proves it on the .tflite file.

    python -m tfcompress.run --technique=xnor

trains a float network on the embedded data set, turns it into a binary one, exports both as
.tflite (the binary one as integers and, where 1-bit kernels run, as bits), checks and measures the
files, and writes a report. More:

    python -m tfcompress.run --list
    python -m tfcompress.run --technique=cp --model=my.keras --dataset=folder:photos --dry_run
    python -m tfcompress.run --technique=bwn --model=vgg16 --dataset=cifar10 --epochs=30
    python -m tfcompress.run --technique=xnor --model=my.keras --dataset=folder:photos
    python -m tfcompress.run --technique=xnor --set width=2 --set activation=relu
    python -m tfcompress.run --technique=int8 --storage=float32,float16,int8

Other data than images with classes (docs/data_sources.md):

    python -m tfcompress.run --technique=int8 --dataset=csv:houses.csv --set target=price
    python -m tfcompress.run --technique=int8 --dataset=audio:words
    python -m tfcompress.run --technique=int8 --dataset=segmentation:streets
    python -m tfcompress.run --technique=int8 --dataset=own.py:load --model=my.keras --metric=mse

A student that learns from its teacher's answers to images without labels (docs/transfer_sets.md):

    python -m tfcompress.run --technique=separable --transfer=folder:photos
    python -m tfcompress.run --technique=separable --transfer=mixup:500

A run that was stopped goes on where it was when the same command is given again. Exit status:
0 done, 1 a failure of tfcompress, 2 bad usage, bad input, or a file that differs too much from its
Keras model to be written, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from absl import flags

from tfcompress import commands, data
from tfcompress.allocator import keep_freed_memory
from tfcompress.config import (
    AUGMENTATIONS,
    BENCHMARK_BACKENDS,
    DISTILLATION_LOSSES,
    IO,
    NORMALIZATIONS,
    RANGES,
    ROUNDINGS,
    RunConfig,
)
from tfcompress.data.transfer import kinds
from tfcompress.errors import ExportError, InputError
from tfcompress.options import parse_assignments


def define(values: flags.FlagValues) -> None:
    """Defines the command's flags."""
    _define_technique(values)
    define_inputs(values)
    define_training(values)
    flags.DEFINE_string("devices", "1", "how many devices of this machine share each batch of a "
                        "training, or all: GPUs, or else processors; Keras's DataParallel with "
                        "KERAS_BACKEND=jax, tf.distribute.MirroredStrategy with TensorFlow",
                        values)  # fmt: skip
    _define_outputs(values)
    flags.DEFINE_boolean("list", False, "print techniques, models, data sets, storages, options",
                         flag_values=values)  # fmt: skip
    flags.DEFINE_boolean("help", False, "print this", short_name="h", flag_values=values)


def define_inputs(values: flags.FlagValues) -> None:
    """Defines what says which network is compressed, and on which data."""
    default = RunConfig()
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("model", None, "a builder's name, or your own .keras or .h5 file (default: what fits the "
         f"data set, {default.model} for images)", values)  # fmt: skip
    text("dataset", default.dataset, f"{', '.join(data.names())}; --list explains them", values)
    text("data_dir", None, "where TFDS keeps its data (default: TFDS's own)", values)
    number("image_size", None, "side of the images in pixels (default: theirs if at most 64, else "
           "the model's)", flag_values=values)  # fmt: skip
    flags.DEFINE_enum("augment", None, AUGMENTATIONS, "what is done to the training images "
                      "(default: as fits the data set)", values)  # fmt: skip
    flags.DEFINE_enum("normalization", "auto", NORMALIZATIONS, "what the model takes: "
                      "standardize (mean 0, deviation 1), none (0..255), unit (0..1), symmetric "
                      "(-1..1); auto: none if the model has a Rescaling or Normalization layer, "
                      "else standardize, or of a model file what it clearly was trained with",
                      values)  # fmt: skip
    text("metric", None, "by which files are compared, a name of Keras's: mae, auc, ... (default: "
         "the model's own first one, else accuracy, mean_iou or mae, as fits the targets); "
         "my_metric:max or :min where it isn't known which way is better", values)  # fmt: skip


def _define_technique(values: flags.FlagValues) -> None:
    """Defines what says how the network is compressed, and who teaches."""
    text = flags.DEFINE_string
    text("technique", RunConfig.technique, "how to compress; --list prints all", values)
    flags.DEFINE_list("teacher", [], "comma-separated .keras or .h5 files, whose answers, of "
                      "several the mean, are learned (default: the float network's)",
                      flag_values=values)  # fmt: skip
    text("distil", None, f"what is learned from the teacher: {', '.join(DISTILLATION_LOSSES)}, or "
         "several as in dkd+hint (default: the recipe's, kd)", values)  # fmt: skip
    text("transfer", None, "unlabelled examples to train a technique on that learns from a "
         "teacher, in place of the data set's: any of --dataset's names, or "
         f"{', '.join(kinds.names())}; --list explains them", values)  # fmt: skip


def define_training(values: flags.FlagValues) -> None:
    """Defines what says how networks are trained."""
    default, number = RunConfig(), flags.DEFINE_integer
    number("epochs", None, "of both trainings (default: 10 for the baseline, the recipe's for the "
           "technique)", flag_values=values)  # fmt: skip
    number("baseline_epochs", None, "of the baseline alone (default: as --epochs, else "
           "10; 0 for a model file)", flag_values=values)  # fmt: skip
    number("batch_size", None, "images in a training step (default: the recipe's)",
           flag_values=values)  # fmt: skip
    flags.DEFINE_float("learning_rate", None, "at the start (default: the recipe's)",
                       flag_values=values)  # fmt: skip
    number("seed", default.seed, "of weights, order, augmentation, dropout", flag_values=values)
    flags.DEFINE_multi_string("set", [], "key=value, repeatable: an option of the technique, the "
                              "builder, the data set or the training; --list prints them",
                              flag_values=values)  # fmt: skip


def _define_outputs(values: flags.FlagValues) -> None:
    """Defines what is written and measured, and where."""
    default = RunConfig()
    text, number = flags.DEFINE_string, flags.DEFINE_integer
    text("storage", None, "how the weights are written (default: the technique's); several with "
         "commas make a file each of one training; --list explains them", values)  # fmt: skip
    flags.DEFINE_enum("io", None, IO, "what goes into a compressed file that computes in integers, "
                      "and comes out of it; uint8 takes pixels as they are (default: float32)",
                      values)  # fmt: skip
    flags.DEFINE_enum("ranges", default.ranges, RANGES, "of a compressed file's integer "
                      "activations: minmax, all values that examples give; mse, cut where the "
                      "squared error is least", values)  # fmt: skip
    flags.DEFINE_enum("rounding", default.rounding, ROUNDINGS, "of a compressed file's weights of "
                      "few bits: nearest; gptq, so that layers' outputs for examples change least",
                      values)  # fmt: skip
    flags.DEFINE_boolean("short_names", False, "name the tensors inside compressed files by one "
                         "layer each, which saves 100 to 300 bytes a layer",
                         flag_values=values)  # fmt: skip
    flags.DEFINE_list("benchmark", list(default.benchmark), "comma-separated: "
                      f"{', '.join(BENCHMARK_BACKENDS)}; or none", flag_values=values)  # fmt: skip
    number("benchmark_runs", default.benchmark_runs, "timed inferences of each file, at least",
           flag_values=values)  # fmt: skip
    text("output_dir", None, "default: tflite_models/<model>_<dataset>_<technique>", values)
    flags.DEFINE_boolean("resume", True, "go on with a stopped run; --noresume starts anew and "
                         "replaces an old one", flag_values=values)  # fmt: skip
    flags.DEFINE_boolean("allow_difference", False, "write a compressed file that differs from its "
                         "Keras model by more than its storage allows, marked in its name, its "
                         "description and the report", flag_values=values)  # fmt: skip
    flags.DEFINE_boolean("dry_run", False, "train nothing and write nothing: print which layers "
                         "will change, which parameters, MACs and bytes to expect, and whether "
                         "chain, model and storages fit", flag_values=values)  # fmt: skip
    flags.DEFINE_boolean("tensorboard", False, "write TensorBoard logs to the output folder",
                         flag_values=values)  # fmt: skip


def parse(argv: Sequence[str]) -> flags.FlagValues:
    """Returns the flags' values.

    Raises:
        InputError: an unknown flag, a value of the wrong type, or a word that is no flag.
    """
    values = flags.FlagValues()
    define(values)
    try:
        rest = values(list(argv))[1:]
    except flags.Error as error:
        raise InputError(f"{error}; --help explains the flags") from error
    if rest:
        raise InputError(f"'{rest[0]}' isn't a flag: flags are written --name=value; see --help")
    return values


def to_config(values: flags.FlagValues) -> RunConfig:
    """Returns the flags as a `RunConfig`."""
    given = values.flag_values_dict()
    given["options"] = parse_assignments(given.pop("set"))
    for name in {"benchmark", "teacher"} & given.keys():
        given[name] = tuple(given[name])
    if given.get("devices", "").isdecimal():  # The search has no such flag.
        given["devices"] = int(given["devices"])
    if given["model"] is None:
        given["model"] = data.default_model(given["dataset"]) or RunConfig.model
    names = RunConfig.__dataclass_fields__
    return RunConfig(**{key: value for key, value in given.items() if key in names})


def execute(argv: Sequence[str]) -> None:
    """Parses the flags, runs what they ask for, and prints the result."""
    values = parse(argv)
    if values.help:
        print(__doc__)
        print("Flags:")
        for name in sorted(name for name in values if name not in ("h", "help")):
            print(f"  --{name}: {values[name].help}")
        return
    config = to_config(values)
    if values.list:
        from tfcompress.pipeline import catalogue

        print(catalogue.text())
        return
    keep_freed_memory()
    # Before TensorFlow is loaded: its C++ reads them once.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # Its advice is for its own users.
    from tfcompress.files import quiet

    with quiet():
        from tfcompress.pipeline.plan import plan

        job = plan(config)  # A name that is unknown is answered before Keras is loaded.

        import keras

        from tfcompress import report
        from tfcompress.pipeline import dry_run, stages

        keras.ops.zeros(1)  # TensorFlow looks for GPUs, and complains, at its first operation.
    if config.dry_run:
        print(f"\n{dry_run.dry_run(job)}")
        return
    result = stages.run(job)
    print(f"\n{report.headline(result)}\n\n{report.console_table(result)}\n")
    print(f"The report: {job.output_dir / 'report.html'}")
    unwritten = stages.failed(job, result)
    if unwritten:
        reasons = "; ".join(f"storage {name}: {reason}" for name, reason in unwritten.items())
        raise ExportError(f"not every file was written: {reasons}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    return commands.run_resumable(execute, argv)


if __name__ == "__main__":
    sys.exit(main())
