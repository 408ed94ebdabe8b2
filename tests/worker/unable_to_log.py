"""
A worker whose children fail at once, and then fail to say so: the log itself raises in them.

Says on its standard output who runs its exits, which are the parent's alone.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NoReturn

import django


class NoQueues(Sequence[str]):
    """As if memory were spent just where a child looks whose a row is."""

    def __len__(self) -> NoReturn:
        raise MemoryError

    def __getitem__(self, _index: object) -> NoReturn:
        raise MemoryError

    def __iter__(self) -> Iterator[str]:
        raise MemoryError


class OnlyInTheParent(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self._parent = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if os.getpid() != self._parent:
            raise MemoryError
        print(record.getMessage(), flush=True)  # noqa: T201  # what the test reads


def main() -> None:
    django.setup()
    from reliable_effects.outbox.worker import Supervisor  # noqa: PLC0415  # after django.setup()

    atexit.register(lambda: print(f"exits of {os.getpid()}", flush=True))  # noqa: T201  # as above
    logger = logging.getLogger("reliable_effects")
    logger.handlers = [OnlyInTheParent()]
    logger.propagate = False
    Supervisor(1, NoQueues(), timedelta(seconds=1)).run()


if __name__ == "__main__":
    main()
