"""How a run may end, and what each end leaves in the rows."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import pytest

from reliable_effects import ONCE, Backoff, Poison, Skip, Snooze, Uncertain
from reliable_effects.clock import moved, read_clock
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.states import Reason, State
from reliable_effects.signals import (
    attempt_failed,
    delivery_poisoned,
    delivery_skipped,
    delivery_succeeded,
    delivery_uncertain,
)
from tests.outbox.conftest import (
    an_event,
    carry_out,
    listening,
    pending_delivery,
    raising,
    runs_of,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)


def test_an_effect_that_returns_has_succeeded(make_effect):
    delivery = pending_delivery(make_effect())

    with listening(delivery_succeeded) as told:
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.attempts == 1
    assert delivery.finished_at is not None
    assert not Attempt.objects.exists()
    assert [t["delivery_id"] for t in told] == [delivery.pk]
    assert told[0]["sender"].name == delivery.effect


class _Silent(Exception):
    def __str__(self):
        raise RuntimeError("no words")


class _Endless(Exception):
    def __str__(self):
        return str(self)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        MemoryError(),
        SystemExit(1),
        KeyboardInterrupt(),
        GeneratorExit(),
        asyncio.CancelledError(),
        StopIteration(),
        RecursionError(),
        BaseExceptionGroup("many", [ValueError(1), KeyboardInterrupt()]),
        _Silent(),
        _Endless(),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_an_effect_raises_is_a_failed_attempt(error, make_effect):
    """An effect is foreign code; its end must not be the worker's."""
    delivery = pending_delivery(make_effect(raising(error)))

    with listening(attempt_failed) as told:
        carry_out(delivery)

    attempt = Attempt.objects.get()
    assert delivery.state == State.PENDING
    assert delivery.attempts == 1
    assert attempt.outcome == Attempt.Outcome.FAILED
    assert attempt.exception_type.endswith(type(error).__name__)
    assert [t["exception"] for t in told] == [error]


@pytest.mark.fault("the message of a failure is huge, or no text", rows="W7")
@pytest.mark.parametrize(
    "message",
    [
        "a\x00b",
        "lone \ud800 surrogate",
        "\ufeff\u202e \U0001f4a5",
        "x" * 3_000_000,
        "💥" * 20_000,
        "%s %(name)s {0}",
        "' OR 1=1; --",
    ],
    ids=["nul", "surrogate", "bidi", "huge", "huge wide", "formats", "sql"],
)
def test_a_hostile_message_is_recorded(message, make_effect):
    """Recording a failure must not fail: the row would stay RUNNING and fail for ever."""
    delivery = pending_delivery(make_effect(raising(ValueError(message))))

    carry_out(delivery)

    attempt = Attempt.objects.get()
    assert delivery.state == State.PENDING
    assert attempt.message[:1] == message[:1]
    assert len(attempt.message.encode()) <= 8 * 1024


def test_a_deep_chain_of_causes_is_recorded(make_effect):
    """A retry loop in foreign code can chain thousands of exceptions."""

    def function(*_):
        first = error = ValueError("the last of them")
        for number in range(sys.getrecursionlimit() * 2):
            error.__cause__ = ValueError(number)
            error = error.__cause__
        raise first

    delivery = pending_delivery(make_effect(function))

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert Attempt.objects.get().outcome == Attempt.Outcome.FAILED


def test_a_failed_attempt_rests_within_its_ceiling(make_effect):
    """By the database's clock, since that one decides when it is due."""
    backoff = Backoff(first=timedelta(minutes=10), longest=timedelta(minutes=20))
    delivery = pending_delivery(make_effect(raising(ValueError()), backoff=backoff))
    before = read_clock("default")

    carry_out(delivery)

    assert before <= delivery.due_at <= read_clock("default") + backoff.ceiling(1)
    assert delivery.look_at == delivery.due_at


def test_spent_attempts_are_a_poison_pill(make_effect):
    """Within its attempts, and told."""
    delivery = pending_delivery(make_effect(raising(ValueError("no")), max_attempts=3))

    with listening(delivery_poisoned) as told:
        for _ in range(5):
            carry_out(delivery)

    assert delivery.state == State.POISONED
    assert delivery.reason == Reason.ATTEMPTS_SPENT
    assert delivery.attempts == 3
    assert Attempt.objects.count() == 3
    assert [t["reason"] for t in told] == ["ATTEMPTS_SPENT"]


def test_a_lowered_max_attempts_holds_for_rows_that_had_more(make_effect):
    """A new release may allow fewer."""
    delivery = pending_delivery(make_effect(max_attempts=2), attempts=5)

    carry_out(delivery)

    assert delivery.state == State.POISONED
    assert delivery.reason == Reason.ATTEMPTS_SPENT
    assert delivery.attempts == 5
    assert runs_of(delivery) == 0


def test_a_snooze_spends_no_attempt_and_begins_a_new_round(make_effect):
    """What it emits after the snooze is new."""
    delivery = pending_delivery(
        make_effect(raising(Snooze(timedelta(hours=1))), max_attempts=1), attempts=0
    )
    before = read_clock("default")

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == 0
    assert delivery.notes == {"snoozed": 3600.0, "round": 1}
    assert timedelta(minutes=59) < delivery.due_at - before < timedelta(minutes=61)
    assert not Attempt.objects.exists()


def test_snoozes_add_up_to_snoozed_out(make_effect):
    """Nothing is put off for ever in silence."""
    delivery = pending_delivery(make_effect(raising(Snooze(timedelta(days=3)))))

    with listening(delivery_poisoned) as told:
        for days in (0, 3, 6):
            with moved(timedelta(days=days, minutes=1)):
                carry_out(delivery)

    assert delivery.state == State.POISONED
    assert delivery.reason == Reason.SNOOZED_OUT
    assert [t["reason"] for t in told] == ["SNOOZED_OUT"]


def test_an_endless_snooze_is_snoozed_out(make_effect):
    """The span is foreign; no database adds it to a date."""
    delivery = pending_delivery(make_effect(raising(Snooze(timedelta.max))))

    carry_out(delivery)

    assert delivery.reason == Reason.SNOOZED_OUT


def test_skip_ends_well_and_says_why(make_effect):
    delivery = pending_delivery(make_effect(raising(Skip("nothing to do"))))

    with listening(delivery_skipped) as told:
        carry_out(delivery)

    assert delivery.state == State.SKIPPED
    assert delivery.reason == Reason.EFFECT_SKIPPED
    assert Attempt.objects.get().message == "nothing to do"
    assert [t["reason"] for t in told] == ["EFFECT_SKIPPED"]


def test_poison_is_set_aside_at_once(make_effect):
    """It knows that no further attempt can succeed."""
    delivery = pending_delivery(make_effect(raising(Poison("card is blocked"))))

    with listening(delivery_poisoned) as told:
        carry_out(delivery)

    assert delivery.state == State.POISONED
    assert delivery.reason == Reason.REFUSED
    assert delivery.attempts == 1
    assert Attempt.objects.get().message == "card is blocked"
    assert told[0]["exception"].why == "card is blocked"


def test_uncertain_without_verify_waits_for_a_person(make_effect):
    """Nobody can ask, so nobody may guess: a second charge is worse than a late one."""
    delivery = pending_delivery(make_effect(raising(Uncertain("no answer"))))

    with listening(delivery_uncertain) as told:
        carry_out(delivery)
        carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert delivery.look_at is None
    assert delivery.attempts == 1
    assert Attempt.objects.get().outcome == Attempt.Outcome.UNCERTAIN
    assert [t["waits_for_a_person"] for t in told] == [True]


def test_an_expired_effect_is_skipped(make_effect):
    """A reminder of yesterday helps nobody."""
    delivery = pending_delivery(make_effect(expires_after=timedelta(hours=1)))

    with moved(timedelta(hours=2)):
        carry_out(delivery)

    assert delivery.state == State.SKIPPED
    assert delivery.reason == Reason.EXPIRED
    assert runs_of(delivery) == 0


def test_an_effect_that_has_not_expired_runs(make_effect):
    delivery = pending_delivery(make_effect(expires_after=timedelta(hours=1)))

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_what_is_no_longer_needed_is_skipped(make_effect):
    """The world may have moved on since the promise."""
    delivery = pending_delivery(make_effect(still_needed=lambda order: order.charge_id != ""))

    carry_out(delivery)

    assert delivery.state == State.SKIPPED
    assert delivery.reason == Reason.NOT_NEEDED
    assert runs_of(delivery) == 0


def test_a_question_that_raises_is_a_failed_attempt(make_effect):
    """Not knowing whether it is needed is no reason to drop it, nor to do it."""
    delivery = pending_delivery(make_effect(still_needed=lambda order: order.no_such_field))

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert delivery.attempts == 1
    assert Attempt.objects.get().exception_type == "builtins.AttributeError"
    assert runs_of(delivery) == 0


def test_what_is_not_owed_any_more_is_skipped(make_effect):
    """The owed query is asked again before acting."""
    one = make_effect()
    one.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)(
        lambda: Order.objects.filter(charge_id="")
    )
    owing = pending_delivery(one)
    paid = pending_delivery(one, subject=Order.objects.create(charge_id="ch_1"))

    carry_out(owing, paid)

    assert owing.state == State.SUCCEEDED
    assert (paid.state, paid.reason) == (State.SKIPPED, Reason.NOT_NEEDED)


@pytest.mark.fault("the subject is deleted before the run", rows="W13")
@pytest.mark.parametrize(
    ("gone", "state", "reason", "runs"),
    [
        ("poison", State.POISONED, Reason.SUBJECT_GONE, 0),
        ("skip", State.SKIPPED, Reason.SUBJECT_GONE, 0),
        ("run", State.SUCCEEDED, Reason.NONE, 1),
    ],
)
def test_a_deleted_subject_ends_as_the_effect_wants(gone, state, reason, runs, make_effect):
    """Default is to be seen; an effect may also not care, or be about the deletion itself."""
    delivery = pending_delivery(make_effect(subject_gone=gone))
    Order.objects.all().delete()

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (state, reason)
    assert runs_of(delivery) == runs


def test_a_delivery_without_its_event_is_unreadable(make_effect):
    """Somebody deleted it by hand; no attempt is burnt on what cannot be begun."""
    delivery = pending_delivery(make_effect())
    delivery.event.delete()
    delivery = Delivery.objects.get()

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.UNREADABLE)
    assert delivery.attempts == 0


@pytest.mark.parametrize("pk", ["not a number", "", "9" * 40, "\uff11"])
def test_a_subject_that_no_row_can_have_ends_visibly(pk, make_effect):
    """Its type may have changed since; each attempt would fail alike, and must not stop the worker."""
    delivery = pending_delivery(make_effect(max_attempts=1), event={"subject_pk": pk})

    carry_out(delivery)

    assert delivery.state == State.POISONED


@pytest.mark.fault("one of several effects of an event fails", rows="W17")
@pytest.mark.usefixtures("unhurried")
def test_one_effects_failure_is_none_of_anothers(make_effect):
    """Same event, one hint: one raises, one kills its attempt, the others are done."""
    effects = [
        make_effect(),
        make_effect(raising(ValueError("no"))),
        make_effect(raising(SystemExit(1))),
        make_effect(),
    ]
    event = an_event()
    rows = [pending_delivery(one, event=event) for one in effects]
    for one in effects:
        pace.note(one.name, 0.001)

    deliver("default", [row.pk for row in rows])

    for row in rows:
        row.refresh_from_db()
    assert [row.state for row in rows] == [
        State.SUCCEEDED,
        State.PENDING,
        State.PENDING,
        State.SUCCEEDED,
    ]


def test_a_receiver_that_raises_harms_nothing(make_effect):
    """Signals are for watching."""

    def receiver(**_):
        raise RuntimeError("a broken dashboard")

    delivery, failing = (
        pending_delivery(make_effect()),
        pending_delivery(make_effect(raising(ValueError()))),
    )
    delivery_succeeded.connect(receiver)
    attempt_failed.connect(receiver)
    try:
        carry_out(delivery, failing)
    finally:
        delivery_succeeded.disconnect(receiver)
        attempt_failed.disconnect(receiver)

    assert delivery.state == State.SUCCEEDED
    assert failing.state == State.PENDING


def test_an_effect_is_found_by_its_earlier_name(make_effect):
    """Rows outlive renames."""
    delivery = pending_delivery("test.old_name")
    make_effect(name="test.new_name", aliases=["test.old_name"])

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert runs_of(delivery) == 1


def test_a_redaction_that_raises_hides_everything_and_stops_nothing(make_effect, settings):
    """It is the project's own code, and the row must not stay RUNNING because of it."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "REDACT": f"{__name__}.broken_redaction"}
    delivery = pending_delivery(make_effect(raising(ValueError("secret"))))

    carry_out(delivery)

    assert delivery.state == State.PENDING
    assert "secret" not in Attempt.objects.get().message


def broken_redaction(text: str) -> str:
    raise RuntimeError(text)


def test_heartbeats_prolong_a_run_up_to_its_max_runtime(make_effect):
    """A loop that says for ever that it is at it would hold its slot for ever."""

    def work_on(_order, ctx):
        while True:
            ctx.heartbeat()

    delivery = pending_delivery(
        make_effect(work_on, max_runtime=timedelta(milliseconds=200), max_attempts=1)
    )

    carry_out(delivery)

    assert (delivery.state, delivery.reason) == (State.POISONED, Reason.TIMED_OUT)
