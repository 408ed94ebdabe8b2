"""
What surrounds each call of an effect: nothing, or what measures and traces it. Tests put in theirs.

An instrument sees the claim before the effect begins, and what it raised. Its own errors are its
own: it must let what the effect raises pass, and raise nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from ..effects.outcomes import Poison, Skip, Snooze, Uncertain
from ..exceptions import EffectTimeout, LeaseLost
from .claimed import Claimed

Instrument = Callable[[Claimed], AbstractContextManager[Any]]

_instruments: list[Instrument] = []
_of_a_test: list[Instrument] = []  # inside the others: what is measured is what the effect sees

around_effect: Instrument = nullcontext
"""What surrounds each call of an effect or `verify`, and the transaction of an `atomic` one."""


def instrument(with_: Instrument) -> None:
    """From now on every effect of this process is run inside it. The same again is one."""
    if with_ not in _instruments:
        _instruments.append(with_)
        _compose()


def take_out(instrument: Instrument) -> None:
    if instrument in _instruments:
        _instruments.remove(instrument)
        _compose()


@contextmanager
def surround_effects_with(context: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    """Run the block's effects inside *context*; `reliable_effects.testing` does, workers do not."""
    before = _of_a_test[:]
    _of_a_test[:] = [lambda _: context()]
    _compose()
    try:
        yield
    finally:
        _of_a_test[:] = before
        _compose()


def _compose() -> None:
    global around_effect  # noqa: PLW0603  # read at each call, so that none costs nothing
    inside_out = (*_instruments, *_of_a_test)

    @contextmanager
    def all_of_them(claimed: Claimed) -> Iterator[None]:
        with ExitStack() as stack:
            for each in inside_out:
                stack.enter_context(each(claimed))
            yield

    match inside_out:
        case ():
            around_effect = nullcontext
        case (only,):
            around_effect = only
        case _:
            around_effect = all_of_them


_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (Snooze, "snoozed"),
    (Skip, "skipped"),
    (Poison, "refused"),
    (Uncertain, "uncertain"),
    (EffectTimeout, "timed out"),
    (LeaseLost, "lease lost"),
    (Exception, "failed"),
    (BaseException, "broken off"),  # SystemExit and its like: a pool, or the effect itself
)


def outcome_of(raised: BaseException | None) -> str:
    """How a call ended, in one of nine words, so that it may be a label."""
    if raised is None:
        return "returned"
    return next(word for kind, word in _WORDS if isinstance(raised, kind))
