"""
The lines that a process comes by, and its death right before one of them.

In: which place to die at; None writes them down. A place is (file, line, n): right before the line
is executed for the n-th time in this process, by whichever of its threads.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from django.db.backends.base import base as django_base

import reliable_effects

Place = tuple[str, int, int]

_OURS = f"{Path(reliable_effects.__file__).parent}{os.sep}"
_HERE = f"{Path(__file__).parent}{os.sep}"
_ACTORS = ("effects.py", f"{os.sep}acts{os.sep}")  # who acts for a project: effects and clients
_DJANGO = django_base.__file__
_BOUNDARIES = {"commit", "_commit", "set_autocommit", "run_and_clear_commit_hooks"}
_LATE_THREADS = 0.5  # seconds for the publisher's thread to come by after all


class Killer:
    """Counts lines, and kills its process at one of them."""

    def __init__(self, kill_at: Place | None = None) -> None:
        self._kill_at = kill_at
        self._counts: Counter[tuple[str, int]] = Counter()
        self._watched: dict[CodeType, bool] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        threading.settrace(self._entered)  # type: ignore[arg-type]
        sys.settrace(self._entered)
        try:
            yield
            if self._kill_at is not None:
                time.sleep(_LATE_THREADS)
        finally:
            sys.settrace(None)
            threading.settrace(None)  # type: ignore[arg-type]

    def places(self) -> list[Place]:
        """Of each line the first and the last time."""
        return [
            (file, line, n)
            for (file, line), times in self._counts.items()
            for n in sorted({1, times})
        ]

    def _entered(self, frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        watched = self._watched.get(code)
        if watched is None:
            watched = self._watched[code] = _is_watched(code)
        return self._stepped if watched else None

    def _stepped(self, frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        if event == "line":
            line = (frame.f_code.co_filename, frame.f_lineno)
            self._counts[line] += 1
            if self._kill_at == (*line, self._counts[line]):
                os.kill(os.getpid(), signal.SIGKILL)
        return self._stepped


def _is_watched(code: CodeType) -> bool:
    file = code.co_filename
    if file == _DJANGO:
        return code.co_name in _BOUNDARIES
    if file.startswith(_HERE):
        return any(actor in file for actor in _ACTORS)
    return file.startswith(_OURS)


def is_of_an_actor(place: Place) -> bool:
    """A line of an effect or a client: around it lie the moments in which most is at stake."""
    file, _, _ = place
    return file.startswith(_HERE)


def nearest(wanted: Place, places: Sequence[Place]) -> Place:
    """Of *places*, the last time at that line that is not after the wanted one; else that itself."""
    file, line, n = wanted
    times = [t for f, at, t in places if (f, at) == (file, line) and t <= n]
    return (file, line, max(times, default=n))


def shown(place: Sequence[Any]) -> str:
    file, line, n = place
    return f"{'/'.join(Path(file).parts[-2:])}:{line} (time {n})"
