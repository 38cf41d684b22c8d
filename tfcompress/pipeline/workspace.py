"""Manages the output folder of a run: what is kept, resumed and cleaned up."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfcompress import files, report
from tfcompress.bounded_json import read_json
from tfcompress.config import RunConfig, recorded_training
from tfcompress.errors import InputError, PathError
from tfcompress.pipeline import manifest
from tfcompress.pipeline.manifest import Manifest
from tfcompress.work import held, work_folder

if TYPE_CHECKING:
    import keras

# Settings that older runs didn't record: they had what is usual.
_YOUNGER = ("ranges", "rounding", "short_names")


class Workspace:
    """Holds one run's folder; use it in a `with` statement.

    The folder is made at once, to find out early whether it can be, and removed again if the run
    ends before it had begun to write.

    Args:
        folder: the output folder.
        settings: the run's resolved settings, as JSON values.
        versions: of the packages that it runs with.
        resume: whether to go on with what the folder holds; else it is cleared of an old run.
        outputs: names of the files that the run will write beside its report.
        shared: by stage, where its training state stands that other runs share; they stay.

    Raises:
        InputError: the folder can't be written, another run is writing into it, it holds a run
            with other settings, or files in the way that no run of tfcompress wrote.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        versions: dict[str, str],
        *,
        resume: bool,
        outputs: Iterable[str] = (),
        shared: Mapping[str, Path] | None = None,
    ) -> None:
        self.folder = folder
        self._resume = resume
        self._outputs = (*outputs, *report.OUTPUTS)
        self._shared = dict(shared or {})
        self._made: list[Path] = []
        self._begun = False
        self._goes_on = False
        self._lock = contextlib.ExitStack()
        self._manifest = Manifest(folder, json.loads(json.dumps(settings)), versions)

    def __enter__(self) -> Workspace:
        """Makes the folder, keeps other runs out of it, and looks at what it holds."""
        missing = [p for p in (self.folder, *self.folder.parents) if not p.exists()]
        try:
            for path in reversed(missing):
                path.mkdir()
                self._made.append(path)
            self._state = self._lock.enter_context(held(self.folder))
        except PathError as error:
            self._remove_made()
            raise InputError(f"{error}, or choose another --output_dir") from error
        except OSError as error:
            self._remove_made()
            raise InputError(
                f"the output folder {self.folder} can't be written: {error.strerror}; choose "
                "another with --output_dir"
            ) from error
        try:
            self._check_old_run()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Lets other runs in, and removes what was made for a run that never began."""
        self._leave()

    def _leave(self) -> None:
        self._lock.close()
        if not self._begun:
            self._remove_made()

    def _remove_made(self) -> None:
        for path in reversed(self._made):
            with contextlib.suppress(OSError):
                path.rmdir()

    def _check_old_run(self) -> None:
        """Refuses a folder of a run with other settings, or with others' files in the way."""
        old = manifest.read(self.folder)
        if old is not None:
            self._goes_on = self._resume
            self._manifest.written = old.written
            settings, new = _as_now(old.settings), _as_now(self._manifest.settings)
            different = sorted(
                key for key in {*settings, *new} if settings.get(key) != new.get(key)
            )
            if self._resume and different:
                raise InputError(
                    f"{self.folder} holds a run with other settings ({', '.join(different)}): "
                    "choose another --output_dir, or --noresume to replace it"
                )
        if not self._is_finished():  # Else nothing will be written.
            self._manifest.check(dict.fromkeys((*self._outputs, *self._manifest.written)))

    def _is_finished(self) -> bool:
        """Returns whether the folder holds this very run, ended."""
        has_report = "report.json" in self._manifest.written and self._report.exists()
        return self._resume and has_report and not self._state.exists()

    @property
    def _report(self) -> Path:
        return self.folder / "report.json"

    def finished(self) -> report.RunResult | None:
        """Returns the result, if this very run was finished before.

        Raises:
            InputError: its report is damaged.
        """
        if not self._is_finished():
            return None
        try:
            return report.RunResult.from_json(read_json(self._report))
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self._report} is damaged: remove it, or choose another --output_dir"
            ) from error

    def begin(self) -> None:
        """Begins to write: clears what is left of an older run, then writes the settings."""
        self._begun = True
        if not self._goes_on:  # Checkpoints without their settings may be of any run.
            self._drop_state()
            self._manifest.remove_files()
        self._state.mkdir(exist_ok=True)
        self._manifest.save()

    def checkpoint(self, stage: str) -> Path:
        """Returns the path of a stage's training state."""
        return self._shared.get(stage, self._state / f"{stage}.npz")

    @property
    def file_ratios(self) -> Path:
        """Returns the path of what was measured of files before a training."""
        return self._state / "file_ratios.json"

    @contextlib.contextmanager
    def writing(self, names: Iterable[str]) -> Iterator[None]:
        """Notes files as the run's own, before they are written and after.

        Args:
            names: of the files that the block may write.

        Raises:
            InputError: something stands there that no run of tfcompress wrote.
        """
        names = tuple(names)
        self._manifest.claim(names)
        try:
            yield
        finally:
            self._manifest.record(names)

    def save_model(self, model: keras.Model, name: str) -> None:
        """Keeps a Keras model, whole or not at all."""
        with self.writing([name]), files.whole(self.folder / name) as beside:
            model.save(beside)

    def finish(self, result: report.RunResult, *, complete: bool = True) -> None:
        """Writes the reports, report.json last; a complete run's checkpoints are dropped.

        Args:
            result: the run's.
            complete: whether all files were written that were wanted; else the same command goes
                on from the trained networks.
        """
        with self.writing(report.OUTPUTS):
            report.write_all(result, self.folder)
        if complete:
            self._drop_state()

    def _drop_state(self) -> None:
        """Removes the checkpoints, all or, if the process is killed, none."""
        with work_folder(self.folder) as unfinished, contextlib.suppress(FileNotFoundError):
            self._state.rename(unfinished / "state")


def _as_now(settings: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's settings, perhaps an older one's, in the form that they have now."""
    usual = RunConfig()
    now = {name: getattr(usual, name) for name in _YOUNGER} | settings
    baseline, compressed = (settings.get(f"{name}_training") for name in ("baseline", "compressed"))
    if isinstance(baseline, dict):
        now["baseline_training"] = recorded_training(baseline)
    if isinstance(compressed, dict) and all(isinstance(each, dict) for each in compressed.values()):
        steps = {step: recorded_training(values) for step, values in compressed.items()}
        now["compressed_training"] = steps
    return now
