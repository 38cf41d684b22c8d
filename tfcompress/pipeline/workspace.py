"""Manages the output folder of a run: what is kept, resumed and cleaned up."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tfcompress import files, report
from tfcompress.errors import InputError, PathError
from tfcompress.work import held, work_folder

if TYPE_CHECKING:
    import keras

_SETTINGS = "config.json"
_TITLES = ("baseline", "compressed")
_OURS = (
    "history.csv",
    *(f"{title}.{end}" for title in _TITLES for end in ("keras", "tflite", "tfz")),
    *(f"report.{end}" for end in ("json", "md", "html")),
)
# A run's further files: of other storages, and those that failed a check.
_MORE = ("*-differs.tflite", "*-differs.tfz", "compressed-*.tflite", "compressed-*.tfz")


class Workspace:
    """Holds one run's folder; use it in a `with` statement.

    The folder is made at once, to find out early whether it can be, and removed again if the run
    ends before it had begun to write.

    Args:
        folder: the output folder.
        settings: the run's resolved settings, as JSON values.
        versions: of the packages that it runs with.
        resume: whether to go on with what the folder holds; else it is cleared of an old run.

    Raises:
        InputError: the folder can't be written, another run is writing into it, or it holds a run
            with other settings.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], versions: dict[str, str], *, resume: bool
    ) -> None:
        self.folder = folder
        self._settings = json.loads(json.dumps(settings))
        self._versions = versions
        self._resume = resume
        self._made: list[Path] = []
        self._begun = False
        self._lock = contextlib.ExitStack()

    def __enter__(self) -> Workspace:
        """Makes the folder and tries to write into it."""
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
        """Refuses a folder of a run with other settings, or of files that no run made."""
        path = self.folder / _SETTINGS
        if not path.exists():
            strangers = [name for name in _OURS if (self.folder / name).exists()]
            if strangers:
                raise InputError(
                    f"{self.folder} holds {', '.join(strangers)}, which no run of tfcompress made "
                    "and this one would replace: choose another --output_dir"
                )
        if not self._resume or not path.exists():
            return
        try:
            old = json.loads(path.read_text())["settings"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged: remove it, choose another --output_dir, or use --noresume"
            ) from error
        different = sorted(
            key for key in {*old, *self._settings} if old.get(key) != self._settings.get(key)
        )
        if different:
            raise InputError(
                f"{self.folder} holds a run with other settings ({', '.join(different)}): choose "
                "another --output_dir, or --noresume to replace it"
            )

    def finished(self) -> report.RunResult | None:
        """Returns the result, if this very run was finished before.

        Raises:
            InputError: its report is damaged.
        """
        path = self.folder / "report.json"
        if not (self._resume and path.exists()) or self._state.exists():
            return None
        try:
            return report.RunResult.from_json(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is damaged: remove it, choose another --output_dir, or use --noresume"
            ) from error

    def begin(self) -> None:
        """Begins to write: clears what is left of an older run, then writes the settings."""
        self._begun = True
        if not self._resume:
            self._clear()
        self._state.mkdir(exist_ok=True)
        content = {"settings": self._settings, "versions": self._versions}
        files.write(self.folder / _SETTINGS, json.dumps(content, indent=2) + "\n")

    def _clear(self) -> None:
        """Removes what an earlier run of ours left, and nothing else."""
        self._drop_state()
        names = {path.name for pattern in _MORE for path in self.folder.glob(pattern)}
        for name in (*_OURS, *names):
            (self.folder / name).unlink(missing_ok=True)

    def checkpoint(self, stage: str) -> Path:
        """Returns the path of a stage's training state."""
        return self._state / f"{stage}.npz"

    def save_model(self, model: keras.Model, name: str) -> None:
        """Keeps a Keras model, whole or not at all."""
        with files.whole(self.folder / name) as beside:
            model.save(beside)

    def finish(self, result: report.RunResult, *, complete: bool = True) -> None:
        """Writes the reports, report.json last; a complete run's checkpoints are dropped.

        Args:
            result: the run's.
            complete: whether all files were written that were wanted; else the same command goes
                on from the trained networks.
        """
        report.write_all(result, self.folder)
        if complete:
            self._drop_state()

    def _drop_state(self) -> None:
        """Removes the checkpoints, all or, if the process is killed, none."""
        with work_folder(self.folder) as unfinished, contextlib.suppress(FileNotFoundError):
            self._state.rename(unfinished / "state")
