"""Stop an effect at one place, as SIGKILL would: nothing of it runs after that."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from django.db import connections

from .autocommit import as_on_a_worker, controls_transaction

_SQL_SHOWN = 200  # characters


class Killed(BaseException):
    """Stands for SIGKILL. No `except Exception` catches it, and it rolls back open transactions."""


class Killer:
    """
    Kills what runs inside `around()` at the place number `kill_at`; None only writes places down.

    A place is a moment before or after a query, before a line of the effect's module, or the
    effect's return.
    """

    def __init__(self, function: Callable[..., Any], kill_at: int | None = None) -> None:
        code = getattr(inspect.unwrap(function), "__code__", None)
        self._file: str = code.co_filename if code is not None else ""
        self._spared = _lines_of_with(self._file)
        self._kill_at = kill_at
        self.places: list[str] = []
        self.killed = False

    @contextmanager
    def around(self) -> Iterator[None]:
        """For `surround_effects_with`."""
        with ExitStack() as stack:
            for connection in connections.all(initialized_only=True):
                stack.enter_context(connection.execute_wrapper(self._query))
            with as_on_a_worker(), self._traced():
                yield
            self._reach("when it had done everything, before that was written down")

    def _reach(self, place: str) -> None:
        if self.killed:
            # A `finally` or `except BaseException` of the effect: the dead have none.
            raise Killed
        self.places.append(place)
        if len(self.places) - 1 == self._kill_at:
            self.killed = True
            raise Killed(place)

    def _query(
        self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        if controls_transaction(sql):
            return execute(sql, params, many, context)
        shown = " ".join(sql.split())[:_SQL_SHOWN]
        self._reach(f"before this query: {shown}")
        result = execute(sql, params, many, context)
        try:
            self._reach(f"after this query was applied: {shown}")
        except Killed:
            # SQLite cannot roll back to a savepoint while rows wait to be read.
            context["cursor"].close()
            raise
        return result

    @contextmanager
    def _traced(self) -> Iterator[None]:
        # Whoever traces already (coverage, a debugger) gets the thread back, and sees the second
        # run of every trial, which is not traced by us.
        before = sys.gettrace()
        sys.settrace(self._entered)
        try:
            yield
        finally:
            sys.settrace(before)

    def _entered(self, frame: FrameType, _event: str, _argument: Any) -> Any:
        return self._stepped if frame.f_code.co_filename == self._file else None

    def _stepped(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and frame.f_lineno not in self._spared:
            source = linecache.getline(self._file, frame.f_lineno).strip()
            self._reach(f"before line {frame.f_lineno} of {Path(self._file).name}: {source}")
        return self._stepped


@cache
def _lines_of_with(file: str) -> frozenset[int]:
    """
    The lines of each `with …:`, which Python comes by once more when it leaves the block.

    An exception that a tracer raises there keeps `__exit__` from being called. The first line of
    the block is as good a place to die.
    """
    tree = ast.parse("".join(linecache.getlines(file)))
    return frozenset(
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for line in range(node.lineno, node.body[0].lineno)
    )
