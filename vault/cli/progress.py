"""Progress bars on standard error, where there is a terminal to draw them on."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from vault.client import RecordingStatus, State

_WORDS = {State.QUEUED: "waiting for a worker", State.PROCESSING: "transcoding"}


class Bars:
    """A bar for the bytes, and one for the worker. Shows nothing without a terminal, or where `shown` is false."""

    def __init__(self, *, shown: bool, verb: str) -> None:
        self._verb = verb
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not (shown and sys.stderr.isatty()),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def bytes(self, done: int, total: int | None) -> None:
        """How many bytes have passed."""
        self._update(self._verb, done, total)

    def status(self, status: RecordingStatus) -> None:
        """How far the worker is."""
        done = 1.0 if status.state is State.PUBLISHED else status.progress
        self._update("working", done or 0.0, 1.0 if done else None)
        word = _WORDS.get(status.state, status.state.value)
        self._progress.update(self._tasks["working"], description=word)

    def _update(self, name: str, done: float, total: float | None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], completed=done, total=total)
