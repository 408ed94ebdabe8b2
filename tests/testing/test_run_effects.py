"""`run_effects()` does in a test what workers do, in the test's own transaction or without one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase, TransactionTestCase
from django.utils import timezone

from reliable_effects import Backoff, Poison, Snooze, Uncertain, effect
from reliable_effects.clock import DbNow
from reliable_effects.controls.models import EffectControl
from reliable_effects.exceptions import OutsideTransaction
from reliable_effects.models import Delivery, OutboxEvent
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.pausing import pause
from reliable_effects.outbox.states import State
from reliable_effects.testing import EffectRun, NotDone, run_effects, running
from tests.shop.effects import wrap
from tests.shop.events import order_placed, order_seen
from tests.shop.models import LedgerEntry, Order

in_both_worlds = pytest.mark.parametrize(
    "world",
    [
        pytest.param("TestCase", marks=pytest.mark.django_db),
        pytest.param("TransactionTestCase", marks=pytest.mark.django_db(transaction=True)),
    ],
)
SOON = Backoff(first=timedelta(seconds=10), longest=timedelta(minutes=1))
HOUR = timedelta(hours=1)


def placed() -> Order:
    with transaction.atomic():
        order = Order.objects.create()
        order_placed.emit(order)
    return order


def seen() -> Order:
    """An order with one fact about it that only a test's own effects hear."""
    with transaction.atomic():
        order = Order.objects.create()
        order_seen.emit(order)
    return order


def note(what: str) -> None:
    LedgerEntry.objects.create(order_pk=0, what=what, key="")


def notes() -> list[str]:
    return list(LedgerEntry.objects.order_by("pk").values_list("what", flat=True))


class InATestCase(TestCase):
    def test_what_was_emitted_runs_and_what_that_emits_runs_too(self):
        """The test's own transaction is never committed, and effects run all the same."""
        placed()

        runs = run_effects()

        assert sorted(notes()) == ["charge", "points", "receipt", "thanks"]
        assert runs[-1].effect == "shop.thank"
        assert {run.state for run in runs} == {State.SUCCEEDED}


class InATransactionTestCase(TransactionTestCase):
    def test_what_was_emitted_runs_and_what_that_emits_runs_too(self):
        placed()

        run_effects()

        assert sorted(notes()) == ["charge", "points", "receipt", "thanks"]


@pytest.mark.django_db
def test_the_fixture_hands_out_the_same_function(request):
    """A project that uses pytest need not import anything."""
    assert request.getfixturevalue("run_effects") is run_effects


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_deliveries_run_in_the_order_of_their_emits():
    orders = [placed(), placed()]

    runs = run_effects()
    first = [run.delivery_id for run in runs[:6]]

    assert first == sorted(first)
    assert (
        list(Delivery.objects.for_subject(orders[0]).order_by("pk").values_list("pk", flat=True))[
            :3
        ]
        == first[:3]
    )


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_what_was_rolled_back_does_not_run():
    with transaction.atomic():
        placed()
        transaction.set_rollback(True)

    assert run_effects() == []


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_the_exception_of_an_effect_is_raised_where_it_came_from():
    """A test must fail at the line that is wrong, and say which effect it was."""

    @effect("t.broken", on=order_seen)
    def broken(_order, _ctx):
        raise ZeroDivisionError("the line that is wrong")

    seen()
    with pytest.raises(ZeroDivisionError) as raised:
        run_effects()

    assert raised.traceback[-1].name == "broken"
    assert "t.broken" in raised.value.__notes__[0]


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_a_raised_failure_is_written_all_the_same():
    """What the admin would show is there to be looked at."""

    @effect("t.broken", on=order_seen, backoff=SOON)
    def broken(_order, _ctx):
        raise ZeroDivisionError

    seen()
    with pytest.raises(ZeroDivisionError):
        run_effects()
    delivery = Delivery.objects.get()

    assert delivery.state == State.PENDING
    assert delivery.attempts == 1
    assert delivery.attempt_rows.get().exception_type == "builtins.ZeroDivisionError"


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_with_record_the_failure_is_in_the_results_and_the_others_run():
    error = ZeroDivisionError()

    @effect("t.broken", on=order_seen, max_attempts=1)
    def broken(_order, _ctx):
        raise error

    seen()
    placed()
    runs = run_effects(record=True)

    assert runs[0] == EffectRun("t.broken", runs[0].delivery_id, State.POISONED, error)
    assert [run.exception for run in runs[1:]] == [None] * 4


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_with_until_a_failed_effect_is_tried_again_without_waiting():
    attempts = []

    @effect("t.second_time_lucky", on=order_seen, backoff=SOON)
    def second_time_lucky(_order, ctx):
        attempts.append(ctx.idempotency_key)
        if len(attempts) == 1:
            raise ConnectionError

    seen()
    runs = run_effects(until=HOUR, record=True)

    assert [run.state for run in runs] == [State.PENDING, State.SUCCEEDED]
    assert len(set(attempts)) == 1


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_the_clock_goes_no_further_than_until():
    @effect("t.patient", on=order_seen)
    def patient(_order, _ctx):
        note("asked")
        raise Snooze(timedelta(minutes=20))

    seen()
    run_effects(until=timedelta(minutes=50))

    assert notes() == ["asked"] * 3


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_until_may_be_an_instant():
    @effect("t.patient", on=order_seen)
    def patient(_order, _ctx):
        note("asked")
        raise Snooze(timedelta(minutes=20))

    seen()
    run_effects(until=timezone.now() + timedelta(minutes=50))

    assert notes() == ["asked"] * 3


@pytest.mark.django_db
def test_an_instant_in_no_time_zone_is_refused():
    """It would be off by hours, and the test right in winter only."""
    with pytest.raises(ValueError, match=r"timezone\.now\(\)"):
        run_effects(until=datetime(2030, 1, 1))  # noqa: DTZ001  # this is what is refused


@in_both_worlds
@pytest.mark.usefixtures("world")
def test_with_until_a_lease_ends_and_its_delivery_runs():
    """What a dead worker left behind is rescued."""
    with transaction.atomic():
        wrap.promise(Order.objects.create())
    delivery = Delivery.objects.get()
    claim(look("default", [delivery.pk]))

    before = run_effects()
    after = run_effects(until=HOUR)

    assert before == []
    assert [run.state for run in after] == [State.SUCCEEDED]
    assert notes() == ["wrapped"]


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_a_doubt_is_no_failure_while_verify_can_be_asked():
    @effect("t.charge", on=order_seen, verify=lambda _order, _ctx: True)
    def charge(_order, _ctx):
        raise Uncertain("the answer was lost")

    seen()
    runs = run_effects(until=HOUR)

    assert [run.state for run in runs] == [State.UNCERTAIN, State.SUCCEEDED]


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_a_doubt_that_waits_for_a_person_is_raised():
    @effect("t.charge", on=order_seen)
    def charge(_order, _ctx):
        raise Uncertain("the answer was lost")

    seen()

    with pytest.raises(Uncertain, match="the answer was lost"):
        run_effects()


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_a_broken_verify_is_raised():
    """A worker takes it for "cannot tell"; a test must not."""

    def verify(_order, _ctx):
        raise ZeroDivisionError

    @effect("t.charge", on=order_seen, verify=verify)
    def charge(_order, _ctx):
        raise Uncertain("the answer was lost")

    seen()

    with pytest.raises(ZeroDivisionError):
        run_effects(until=HOUR)


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_a_poison_pill_is_raised_with_the_effects_own_words():
    @effect("t.cursed", on=order_seen)
    def cursed(_order, _ctx):
        raise Poison("no label sticks to it")

    seen()

    with pytest.raises(Poison, match="no label sticks to it"):
        run_effects()


@pytest.mark.django_db
def test_a_delivery_set_aside_without_an_exception_is_raised_too():
    with transaction.atomic():
        order = Order.objects.create()
        wrap.promise(order)
    order.delete()

    with pytest.raises(NotDone, match=r"shop.wrap .* is not in the database"):
        run_effects()


@pytest.mark.django_db
def test_a_delivery_of_an_unknown_effect_is_raised_once():
    """It stays due; to try it for ever would end no test."""
    with transaction.atomic():
        wrap.promise(Order.objects.create())
    Delivery.objects.update(effect="shop.of_another_release")

    runs = run_effects(until=HOUR, record=True)

    assert len(runs) == 1
    assert "declared" in str(runs[0].exception)


@in_both_worlds
@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.usefixtures("world", "scratch")
def test_on_commit_hooks_of_an_effect_run_once_it_is_committed(atomic):
    """The test's own transaction is never committed, and would swallow them."""
    happened = []

    @effect("t.hooked", on=order_seen, atomic=atomic)
    def hooked(_order, _ctx):
        with transaction.atomic():
            note("written")
            transaction.on_commit(lambda: happened.append("committed"))
            happened.append("still open")

    seen()
    run_effects()

    assert happened == ["still open", "committed"]


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_on_commit_hooks_of_what_an_effect_rolled_back_do_not_run():
    happened = []

    @effect("t.hooked", on=order_seen, atomic=True)
    def hooked(_order, _ctx):
        transaction.on_commit(lambda: happened.append("committed"))
        raise ZeroDivisionError

    seen()
    run_effects(record=True)

    assert happened == []


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_hooks_of_the_test_itself_are_left_to_the_test(django_capture_on_commit_callbacks):
    happened = []
    with django_capture_on_commit_callbacks() as callbacks:
        transaction.on_commit(lambda: happened.append("mine"))
        placed()
        run_effects()

    assert happened == []
    assert callbacks


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_an_effect_that_emits_without_atomic_fails_in_any_test():
    """The test's own transaction must not hide what would fail on a worker."""

    @effect("t.forgetful", on=order_seen)
    def forgetful(order, _ctx):
        order_placed.emit(order)

    seen()

    with pytest.raises(OutsideTransaction):
        run_effects()


@pytest.mark.django_db
def test_a_forgotten_atomic_fails_in_a_test_case():
    order = Order.objects.create()

    with pytest.raises(OutsideTransaction):
        order_placed.emit(order)

    assert not OutboxEvent.objects.exists()


@in_both_worlds
@pytest.mark.usefixtures("world", "scratch")
def test_a_failed_statement_undoes_itself_alone():
    """As in autocommit on a worker, what stood before it stands, and the test can go on."""

    @effect("t.clumsy", on=order_seen)
    def clumsy(order, _ctx):
        note("before")
        try:
            Order.objects.bulk_create([Order(), Order(pk=order.pk)])
        except IntegrityError:
            note("after")
        Order(pk=order.pk).save(force_insert=True)

    order = seen()
    with pytest.raises(IntegrityError):
        run_effects()

    assert notes() == ["before", "after"]
    assert list(Order.objects.all()) == [order]
    assert not connection.needs_rollback


@pytest.mark.django_db
def test_effects_do_not_run_inside_the_tests_own_atomic():
    """Nothing is committed there yet, so a worker could not see it."""
    with transaction.atomic():
        wrap.promise(Order.objects.create())

        with pytest.raises(RuntimeError, match="after the atomic"):
            run_effects()


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_effects_that_owe_one_another_for_ever_are_stopped(monkeypatch):
    monkeypatch.setattr(running, "MOST_RUNS", 20)

    @effect("t.ouroboros", on=order_seen)
    def ouroboros(order, _ctx):
        with transaction.atomic():
            order_seen.emit(order)

    seen()

    with pytest.raises(AssertionError, match=r"t\.ouroboros"):
        run_effects()


@pytest.mark.django_db
@pytest.mark.usefixtures("scratch")
def test_effects_on_databases_that_the_test_has_closed_are_left_alone(settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    placed()

    runs = run_effects()

    assert len(runs) == 4


@pytest.mark.django_db(databases=["default", "other"])
def test_effects_on_every_swept_database_run(settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ["other", "default"]}
    with transaction.atomic(using="other"):
        wrap.promise(Order.objects.using("other").create(), using="other")
    placed()

    runs = run_effects()

    assert len(runs) == 5
    assert notes()[0] == "wrapped"


@pytest.mark.django_db
def test_a_pause_is_told_of_and_ends_with_its_test():
    """What a rolled back test has paused runs in the next one."""
    placed()
    pause("shop.charge_card", by="ada", why="the bank is away")
    with pytest.raises(NotDone, match="paused by ada: the bank is away"):
        run_effects()
    EffectControl.objects.all().delete()  # as a rollback does
    Delivery.objects.filter(state=State.PENDING).update(look_at=DbNow())

    assert "shop.charge_card" in [run.effect for run in run_effects()]
