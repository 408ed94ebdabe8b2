"""
What happens behind the page while a test looks at it: workers, sweeps, a partner that is mended.

Playwright runs a loop in the thread that uses it. Django takes that for a coroutine, refuses to
query, and would open connections there that nobody closes. So the work is done in another thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import connections

P = ParamSpec("P")
T = TypeVar("T")

_PATIENCE = 90  # seconds


def behind(function: Callable[P, T]) -> Callable[P, T]:
    """Run *function* in a thread of its own, wait for it, and return what it returned."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        ended: list[T] = []
        raised: list[BaseException] = []

        def work() -> None:
            try:
                ended.append(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001  # raised where the test waits
                raised.append(error)
            finally:
                connections.close_all()

        thread = threading.Thread(target=work, name=function.__name__)
        thread.start()
        thread.join(_PATIENCE)
        assert not thread.is_alive(), f"{function.__name__} has not ended within {_PATIENCE} s"
        if raised:
            raise raised[0]
        return ended[0]

    return run
