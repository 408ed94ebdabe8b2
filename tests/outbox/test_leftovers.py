"""What an effect leaves behind in its process harms nobody who runs there after it."""

from __future__ import annotations

import os
import weakref

import pytest
from django.db import connection, connections, transaction

from reliable_effects.outbox import settle
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import State
from tests.shop.models import LedgerEntry, Order

from .conftest import carry_out, pending_delivery, runs_of, write_down

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def begin_in_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")


def begin_elsewhere() -> None:
    transaction.atomic(using="other").__enter__()


@pytest.mark.parametrize("begin", [begin_in_sql, begin_elsewhere])
def test_a_transaction_that_nobody_sees_swallows_nothing(begin, make_effect):
    """Else what came after it would be undone when its connection closes, days later."""

    def leave(order, ctx):
        begin()
        Order.objects.using("other").create(charge_id="never")
        write_down(order, ctx)

    leaving = pending_delivery(make_effect(leave, max_attempts=1))
    following = pending_delivery(
        make_effect(lambda *_: Order.objects.using("other").create(charge_id="kept"))
    )

    carry_out(leaving)
    carry_out(following)
    connections.close_all()  # what was not committed is gone now

    leaving.refresh_from_db()
    following.refresh_from_db()
    assert leaving.state == State.POISONED
    assert "left a transaction open" in Attempt.objects.get().message
    assert following.state == State.SUCCEEDED
    assert Order.objects.using("other").filter(charge_id="kept").exists()


def test_an_atomic_success_stands_whatever_was_left_open_elsewhere(make_effect):
    """It was committed with its writes, and nobody may fail it any more."""

    def leave(order, ctx):
        begin_elsewhere()
        write_down(order, ctx)

    delivery = pending_delivery(make_effect(leave, atomic=True))

    carry_out(delivery)

    delivery.refresh_from_db()
    assert delivery.state == State.SUCCEEDED
    assert runs_of(delivery) == 1
    assert connections["other"].get_autocommit()


def test_a_connection_that_one_closed_fails_no_other_of_its_group(make_effect):
    """The members of a group share it, and none has asked for it to be closed."""

    def close(order, ctx):
        write_down(order, ctx)
        connection.connection.close()

    closer = make_effect(close, harmless_to_repeat=True)
    other = make_effect(harmless_to_repeat=True)
    for _ in range(2):  # measured, so that they are taken as a group
        carry_out(pending_delivery(closer))
        carry_out(pending_delivery(other))
    group = [pending_delivery(each) for each in (closer, other, closer, other)]

    carry_out(*group)

    rows = Delivery.objects.filter(pk__in=[each.pk for each in group])
    assert [(row.state, row.attempts) for row in rows] == [(State.SUCCEEDED, 1)] * 4
    assert not Attempt.objects.exists()


def test_a_child_that_comes_back_from_an_effect_is_no_second_worker(make_effect):
    """It has its parent's claim and socket, and would read the answers to its parent's queries."""
    children = []

    def fork(order, ctx):
        children.append(os.fork())
        write_down(order, ctx) if children[0] else None

    delivery = pending_delivery(make_effect(fork))

    carry_out(delivery)

    _, status = os.waitpid(children[0], 0)
    assert os.waitstatus_to_exitcode(status) == 1
    delivery.refresh_from_db()
    assert delivery.state == State.SUCCEEDED
    assert LedgerEntry.objects.count() == 1


def test_what_an_effect_has_eaten_is_gone_when_its_failure_is_written(make_effect):
    """A traceback holds every frame and all that is in it, and writing takes memory as well."""
    eaten = []

    class Meal:
        pass

    def eat(_order, _ctx):
        meal = Meal()
        eaten.append(weakref.ref(meal))
        try:
            raise MemoryError  # noqa: TRY301  # as a library would
        except MemoryError as error:
            raise ValueError("wrapped") from error

    delivery = pending_delivery(make_effect(eat))
    seen = []
    with pytest.MonkeyPatch.context() as patch:  # the moment of writing has no other window
        settle_failure = settle._settle_failure
        patch.setattr(
            settle, "_settle_failure",
            lambda *args: (seen.append(eaten[0]()), settle_failure(*args)),
        )  # fmt: skip
        carry_out(delivery)

    assert seen == [None]
    assert Attempt.objects.get().message == "wrapped"
