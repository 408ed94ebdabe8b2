"""
Ask of one effect: wherever its worker dies, does a second run end where one run would have?

Each trial runs the real claim, run, rescue and second run in a savepoint that is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import DEFAULT_DB_ALIAS, router, transaction
from django.db.models import Model

from ..clock import moved, read_clock
from ..effects.effect import Effect
from ..outbox.claim import claim, look
from ..outbox.heartbeat import Turn
from ..outbox.instruments import surround_effects_with
from ..outbox.models import Delivery
from ..outbox.rescue import rescue
from ..outbox.run import run
from ..outbox.settle import settle
from ..outbox.states import WAITING, State
from .aliases import usable_databases
from .autocommit import as_on_a_worker
from .killing import Killer
from .running import carry_out
from .snapshot import Pks, Tables, differences, primary_keys, straying, tables

_TIMES = 3  # of one place (a line in a loop) at which the effect is killed
_RUNS = 50  # of one delivery, snoozes included, until a trial is given up
_A_MOMENT = timedelta(seconds=1)


def assert_crash_safe(
    effect: Effect[Any, Any],
    subject: Model | None,
    payload: Any = None,
    *,
    observe: Callable[[], Any] | None = None,
) -> None:
    """
    Kill *effect* at every step, run it again with the same key, and compare with one whole run.

    It is killed before and after each query, before each line of its module that it executes
    (the first three times), and when it has returned. Then its lease ends, and it goes on as it
    would on another worker: `verify` and the owed query are asked, and it runs again. After that
    every row of the project, and every event it emitted, must be as after one uninterrupted run,
    and nothing may have been raised. What differs between two uninterrupted runs (clocks, random
    tokens, numbers of new rows) only counts as NULL or not.

    The delivery of *effect* for *subject* that waits already is taken, else one is promised, with
    *payload*. All of it is rolled back: afterwards the database is as before.

    It sees the databases, not the partners behind them. Let `observe` return what they hold, as
    something that compares and does not grow with a repeated call: the set of idempotency keys that
    a fake partner has honoured, not the list of calls. It does not see threads that the effect
    starts, nor a crash within one line that makes two calls; and where a killed process would have
    no `finally`, here those run, though no query of theirs does.

    Raises:
        AssertionError: where it was killed, and what is different.
        ValueError: there is nothing to run; it is done, or not needed.
    """
    databases = usable_databases()
    with _rolled_back(databases):
        using, delivery_id = _waiting(effect, subject, payload, databases)
        trials = _Trials(
            effect,
            using,
            delivery_id,
            databases,
            primary_keys(databases),
            observe or (lambda: None),
        )
        one, places = trials.uninterrupted()
        if not places:
            raise ValueError(f"{effect.name} has nothing to do for {subject!r}: it did not run.")
        other, _ = trials.uninterrupted()
        strays = straying(one.tables, other.tables)
        unsteady = _unlike(one, other, strays)
        if unsteady:
            raise AssertionError(
                f"{effect.name} cannot be judged: two whole runs from one start, with one key, end"
                f" differently.\n{unsteady}"
            )
        for number, place in enumerate(places):
            if places[:number].count(place) < _TIMES:
                unlike = _unlike(one, trials.killed_at(number, place), strays)
                if unlike:
                    raise AssertionError(
                        f"{effect.name} is not crash-safe. Killed {place}\n"
                        f"and run again, it does not end where one whole run does:\n{unlike}"
                    )


@dataclass(frozen=True, slots=True)
class _End:
    """What is left behind by a trial."""

    tables: Tables
    outside: Any


@dataclass(frozen=True, slots=True)
class _Trials:
    effect: Effect[Any, Any]
    using: str
    delivery_id: int
    databases: Sequence[str]
    before: Pks
    observe: Callable[[], Any]

    def uninterrupted(self) -> tuple[_End, list[str]]:
        """One whole run, and the places it came by."""
        with _rolled_back(self.databases):
            killer = Killer(self.effect.function)
            self._run_to_the_end(killer)
            return self._end(), killer.places

    def killed_at(self, number: int, place: str) -> _End:
        """A run that is killed at the place *number*, the lease's end, and what follows."""
        with _rolled_back(self.databases):
            killer = Killer(self.effect.function, number)
            with self._clock_at_due_time(), surround_effects_with(killer.around):
                for claimed in claim(look(self.using, [self.delivery_id])):
                    verdict = run(claimed)
                    # The dead write no outcome; it lives where it took another way this time.
                    if not killer.killed:
                        settle(claimed, verdict)
            if killer.killed:
                self._rescue()
            try:
                self._run_to_the_end()
            except Exception as error:
                raise AssertionError(
                    f"{self.effect.name} is not crash-safe. Killed {place}\n"
                    f"and run again, it failed with {type(error).__name__}: {error}"
                ) from error
            return self._end()

    def _rescue(self) -> None:
        with moved(self.effect.lease + _A_MOMENT):
            rescue(self.using, Turn(since_last=None))
        # The question is what a second run does, also of an effect that is allowed only one: a
        # person may redrive it.
        Delivery.objects.using(self.using).filter(pk=self.delivery_id).update(attempts=0)

    def _run_to_the_end(self, killer: Killer | None = None) -> None:
        """Run until the delivery is settled; *killer* watches the first run."""
        around = as_on_a_worker if killer is None else killer.around
        for _ in range(_RUNS):
            row = self._row()
            if row.state not in WAITING or row.look_at is None:
                return
            with self._clock_at_due_time(), surround_effects_with(around):
                done = carry_out(self.using, self.delivery_id)
            if done is not None and done.exception is not None:
                raise done.exception
            around = as_on_a_worker
        raise AssertionError(f"{self.effect.name} was not done after {_RUNS} runs.")

    @contextmanager
    def _clock_at_due_time(self) -> Iterator[None]:
        rest = self._row().due_at - read_clock(self.using)
        with moved(max(rest + _A_MOMENT, timedelta(0))):
            yield

    def _row(self) -> Delivery:
        return Delivery.objects.using(self.using).get(pk=self.delivery_id)

    def _end(self) -> _End:
        return _End(tables(self.databases, self.before), self.observe())


def _unlike(expected: _End, found: _End, strays: set[tuple[str, str]]) -> str:
    lines = differences(expected.tables, found.tables, strays)
    if expected.outside != found.outside:
        lines.append(f"outside, after one run: {expected.outside!r}, now: {found.outside!r}")
    return "\n".join(f"  {line}" for line in lines)


@contextmanager
def _rolled_back(databases: Sequence[str]) -> Iterator[None]:
    with ExitStack() as stack:
        for using in databases:
            block = transaction.atomic(using=using)
            # Django's own mark for the transaction that stands around a test: emit and durable
            # blocks see through it, and so does an effect that is run in it.
            block._from_testcase = True  # type: ignore[attr-defined]  # noqa: SLF001  # see above
            stack.enter_context(block)
        try:
            yield
        finally:
            for using in databases:
                transaction.set_rollback(True, using=using)


def _waiting(
    effect: Effect[Any, Any], subject: Model | None, payload: Any, databases: Sequence[str]
) -> tuple[str, int]:
    """The delivery to try: one that waits already, else a new promise."""
    event = effect.event
    event.check_subject(subject)
    if payload is None:
        for alias in databases:
            waiting = Delivery.objects.using(alias).filter(
                effect=effect.name,
                state=State.PENDING,
                event__subject_model=event.subject_label,
                event__subject_pk="" if subject is None else str(subject.pk),
            )
            found = waiting.order_by("pk").values_list("pk", flat=True).first()
            if found is not None:
                return alias, found
    using = DEFAULT_DB_ALIAS
    if subject is not None:
        using = router.db_for_write(type(subject), instance=subject)
    with transaction.atomic(using=using):
        promised = effect.promise(subject, payload, using=using)
    if promised.already_promised:
        raise ValueError(f"{effect.name} is done for {subject!r}: what it owed was owed once.")
    rows = Delivery.objects.using(using).filter(event_id=promised.event_id, effect=effect.name)
    return using, rows.values_list("pk", flat=True).get()
