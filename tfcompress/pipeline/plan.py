"""Makes a plan of the flags: looks up every name and types every option before data loads."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfcompress import data, models, techniques
from tfcompress.benchmark import backends
from tfcompress.config import OLD_DISTILLATION, Distillation, Inversion, RunConfig, Training
from tfcompress.data.transfer import kinds
from tfcompress.errors import InputError, require, unknown_name
from tfcompress.export import io_types, post_training, storages
from tfcompress.export.storage import Storage
from tfcompress.models import saved
from tfcompress.options import check_names, option_types, typed_options

# The settings of a training that have flags of their own.
_FLAGS = {"epochs", "batch_size", "learning_rate"}
# What `--set` sets field by field: distillation.temperature=8.
_NESTED = {"distillation"}
_BASELINE = Training(epochs=10)
_USERS_BASELINE = Training(epochs=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Says what a run will do.

    Attributes:
        config: the flags.
        steps: the techniques, looked up, with their typed options and their training.
        model_options: for the builder; empty for a model file.
        data_options: for the data set's loader.
        settings: fields of `Training` that the user gives.
        inversion: how images are made from the teacher, where they are.
        baseline: how the float network is trained.
        storages: how the compressed network's weights are written, one file each.
        unavailable: storages of the technique's that this machine can't make, and why.
        output_dir: where everything goes.
    """

    config: RunConfig
    steps: tuple[techniques.Step, ...]
    model_options: dict[str, Any]
    data_options: dict[str, Any]
    settings: dict[str, Any]
    inversion: Inversion
    baseline: Training
    storages: tuple[str, ...]
    unavailable: dict[str, str]
    output_dir: Path

    @property
    def inverts(self) -> bool:
        """Whether the transfer set is made from the teacher."""
        return kinds.is_inverted(self.config.transfer)

    def to_json(self) -> dict[str, Any]:
        """Returns the resolved settings, which a run shares with the one that it goes on with."""
        return {
            "technique": self.config.technique,
            "technique_options": {
                step.technique.name: dataclasses.asdict(step.options) for step in self.steps
            },
            "model": self.config.model,
            "model_options": self.model_options,
            "dataset": self.config.dataset,
            "data_options": self.data_options,
            "data_dir": self.config.data_dir,
            "teacher": list(self.config.teacher) or None,
            "transfer": self.config.transfer,
            **({"inversion": dataclasses.asdict(self.inversion)} if self.inverts else {}),
            "image_size": self.config.image_size,
            "augment": self.config.augment,
            "normalization": self.config.normalization,
            "metric": self.config.metric,
            "baseline_training": dataclasses.asdict(self.baseline),
            "compressed_training": {
                step.technique.name: dataclasses.asdict(step.training) for step in self.steps
            },
            "seed": self.config.seed,
            "storage": ",".join((*self.storages, *self.unavailable)),
            "io": self.config.io,
            "ranges": self.config.ranges,
            "rounding": self.config.rounding,
            "short_names": self.config.short_names,
            "benchmark": list(self.config.benchmark),
            "benchmark_runs": self.config.benchmark_runs,
        }


def plan(config: RunConfig) -> Plan:
    """Looks up every name and types every option of a run.

    Raises:
        InputError: an unknown technique, model, data set, storage, option or backend.
    """
    chain = techniques.chain(config.technique)
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs a package: pip install 'tfcompress[tensorboard]'")
    if models.is_file(config.model):
        saved.check(config.model)
        builder = None
    else:
        builder = models.get(config.model).build
    data.check_name(config.dataset, config.data_dir)
    for name in config.teacher:
        saved.check(name)
    if config.transfer is not None:
        kinds.check_name(config.transfer, config.data_dir)
    for name in config.benchmark:
        if name != "none":
            backends.parse(name)
    # Before hours of training.
    wanted, unavailable = _storages(config, chain)
    takers = {
        "model": builder,
        "data": data.options_type(config.dataset),
        "training": Training,
    }
    distillation, others = _distillation_settings(config)
    inversion, others = _inversion(config, others)
    values = _typed_options(others, takers, chain)
    settings = values["training"] | _flags_of_training(config)
    asked = {} if distillation is None else {"distillation": distillation}
    steps = techniques.make_steps(chain, others, settings | asked)
    if config.transfer is not None:
        techniques.check_distillation(steps, "a transfer set")
    if config.teacher or config.distil:
        techniques.check_distillation(steps, "--teacher" if config.teacher else "--distil")
    usual = [storage.usual for storage in wanted]
    io_types.check(config.io, integer=any(way.integer or way.takes_bytes for way in usual))
    post_training.check(usual, ranges=config.ranges, rounding=config.rounding)
    return Plan(
        config=config,
        steps=steps,
        model_options=values["model"],
        data_options=values["data"],
        settings=settings,
        inversion=inversion,
        baseline=_baseline(config, settings, is_file=builder is None),
        storages=tuple(storage.name for storage in wanted),
        unavailable=unavailable,
        output_dir=Path(config.output_dir or default_output_dir(config)),
    )


def _storages(
    config: RunConfig, chain: tuple[techniques.Technique, ...]
) -> tuple[list[Storage], dict[str, str]]:
    """Returns the storages of a run, and why those of the technique's can't be had that are left.

    Raises:
        InputError: the user asked for one that is unknown or can't be had here, or for one twice;
            or the technique's first one can't be had.
    """
    if config.storage is None:
        names = list(chain[-1].storages)
    else:
        names = [name.strip() for name in config.storage.split(",")]
    require(len(set(names)) == len(names), f"--storage={config.storage} has one storage twice")
    wanted: list[Storage] = []
    unavailable: dict[str, str] = {}
    for name in names:
        storage = storages.get(name)
        if not storage.usual.runtime.in_litert:
            raise InputError(
                f"storage {name} isn't for this command, which measures files in LiteRT: train "
                "with another storage and write compressed.keras by tfcompress.export.export"
            )
        try:
            storage.check_machine()
        except InputError as error:
            if config.storage is not None or not wanted:
                raise
            unavailable[name] = str(error)
        else:
            wanted.append(storage)
    return wanted, unavailable


def _typed_options(
    texts: Mapping[str, str], takers: dict[str, Any], chain: tuple[techniques.Technique, ...]
) -> dict[str, dict[str, Any]]:
    """Gives each `--set` option to the builder, loader or training that has it, typed.

    Args:
        texts: all options.
        takers: what they can go to besides the techniques; None takes nothing.
        chain: the techniques, which take the others.

    Raises:
        InputError: nobody has it, or the value isn't of its type.
    """
    known = {
        title: (set(option_types(taker)) - _FLAGS - _NESTED if taker is not None else set())
        for title, taker in takers.items()
    }
    of_techniques = {name for technique in chain for name in option_types(technique.options)}
    _, taken = techniques.distribute(chain, texts)
    everything = of_techniques.union(*known.values())
    for key in texts:
        if key in _FLAGS:
            raise InputError(f"{key} has a flag of its own: --{key}={texts[key]}")
        if key not in taken and not any(key in names for names in known.values()):
            raise unknown_name("option", key, everything)
    return {
        title: typed_options(taker, {k: v for k, v in texts.items() if k in known[title]})
        if taker is not None
        else {}
        for title, taker in takers.items()
    }


def _distillation_settings(config: RunConfig) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """Returns the fields of `Distillation` that the user gives, and the other options.

    They are written `--set distillation.temperature=8`, or `--distil` for the losses; two also have
    the names of before. None if there is nothing to change; a teacher of the user's own teaches
    every technique.

    Raises:
        InputError: an unknown field, or a value that isn't of its type.
    """
    given, others = {}, {}
    if config.distil is not None:
        given["losses"] = config.distil
    for key, text in config.options.items():
        kind, dot, name = key.partition(".")
        if dot and kind == "distillation":
            given[name] = text
        elif key in OLD_DISTILLATION:
            name = OLD_DISTILLATION[key]
            warnings.warn(
                f"--set {key} is --set distillation.{name} now; the old name goes with the next "
                "version",
                DeprecationWarning,
                stacklevel=2,
            )
            given[name] = text
        else:
            others[key] = text
    check_names(Distillation, given, "distillation.")
    typed = typed_options(Distillation, given)
    return typed if typed or config.teacher else None, others


def _inversion(config: RunConfig, texts: Mapping[str, str]) -> tuple[Inversion, dict[str, str]]:
    """Returns how images are made from a teacher, of `inversion.steps=100`, and the other options.

    Raises:
        InputError: an unknown field, a value that it can't have, or no images are to be made.
    """
    prefix = "inversion."
    chosen = {key: text for key, text in texts.items() if key.startswith(prefix)}
    given = {key.removeprefix(prefix): text for key, text in chosen.items()}
    require(
        not given or kinds.is_inverted(config.transfer),
        f"--set {prefix}{next(iter(given), '')} is for --transfer={kinds.INVERTED}",
    )
    check_names(Inversion, given, prefix)
    others = {key: text for key, text in texts.items() if key not in chosen}
    return Inversion(**typed_options(Inversion, given)), others


def _flags_of_training(config: RunConfig) -> dict[str, Any]:
    """Returns the fields of `Training` that the user gave as flags."""
    values = {name: getattr(config, name) for name in _FLAGS}
    return {name: value for name, value in values.items() if value is not None}


def _baseline(config: RunConfig, settings: dict[str, Any], *, is_file: bool) -> Training:
    """Returns how the float network is trained; a user's own model is trained already."""
    training = (_USERS_BASELINE if is_file else _BASELINE).with_settings(settings)
    if config.baseline_epochs is None:
        return training
    return dataclasses.replace(training, epochs=config.baseline_epochs)


def default_output_dir(config: RunConfig) -> str:
    """Returns `tflite_models/<model>_<dataset>_<technique>`; of paths only the last part."""
    model = Path(config.model).stem if models.is_file(config.model) else config.model
    dataset = Path(config.dataset.partition(":")[2] or config.dataset).stem
    if data.runs_code(config.dataset):
        file, _, function = config.dataset.rpartition(":")
        dataset = f"{Path(file).stem}_{function}"
    words = (model, dataset, config.technique)
    return "tflite_models/" + "_".join(re.sub(r"[^A-Za-z0-9.-]+", "_", word) for word in words)
