"""effects_forget says what it will blank, asks, does it, and says what is left."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from reliable_effects.outbox import forget as forget_module
from reliable_effects.outbox.forget import Share
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from tests.outbox.conftest import pending_delivery, poisoned_delivery, succeeded_delivery
from tests.shop.models import Order

pytestmark = pytest.mark.django_db


@pytest.fixture
def order() -> Order:
    return Order.objects.create()


def run(order, *arguments, why="request of 3 May") -> list[str]:
    out = io.StringIO()
    subject = order if isinstance(order, str) else f"shop.Order:{order.pk}"
    options = [*arguments, "--database", "default", "--why", why]
    try:
        call_command("effects_forget", subject, *options, stdout=out, stderr=out)
    except SystemExit as end:
        out.write(f"exit {end.code}\n")
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


def told_of(order: Order) -> None:
    """One that was done, and one that failed."""
    succeeded_delivery(subject=order, payload={"name": "Ada"})
    pill = poisoned_delivery(subject=order, payload={"name": "Ada"})
    Attempt.objects.create(delivery=pill, number=1, outcome="failed", message="no Ada")


def payloads() -> list[dict]:
    return [event.payload for event in OutboxEvent.objects.all()]


def test_a_dry_run_counts_by_table_and_changes_nothing(order):
    """Whoever answers the request reads it first."""
    told_of(order)

    out = run(order, "--dry-run")

    assert out == [
        f"shop.Order:{order.pk} on default",
        "2 payloads of events",
        "1 error texts of attempts",
        "0 notes of deliveries",
        "0 edited payloads",
        "0 scheduled jobs",
        "0 outgoing calls",
        "0 idempotency records",
        "0 report downloads",
        "0 samples of failures",
        "1 of its deliveries are poisoned, and could not be redriven any more",
        "Nothing was changed.",
    ]
    assert payloads() == [{"name": "Ada"}] * 2


def test_it_blanks_and_a_second_time_there_is_nothing_left(order):
    """So a job may repeat it until it is complete."""
    told_of(order)

    first, second = run(order, "--yes"), run(order, "--yes")

    assert first[-1] == "3 rows blanked."
    assert second[-1] == "Nothing was changed."
    assert payloads() == [forget_module.MARK] * 2


def test_it_asks_and_takes_silence_for_no(order, monkeypatch):
    """It cannot be undone."""
    told_of(order)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))

    with pytest.raises(CommandError, match="Not confirmed"):
        run(order)

    assert payloads() == [{"name": "Ada"}] * 2


def test_what_must_still_run_is_listed_and_the_exit_says_so(order):
    """A job that believes it is done would leave it for ever."""
    told_of(order)
    row = pending_delivery(subject=order, payload={"name": "Ada"})

    out = run(order, "--yes")

    assert f"shop.wrap #{row.pk} waiting" in out
    assert out[-1] == "exit 1"
    assert payloads().count({"name": "Ada"}) == 1


def test_even_what_waits_is_given_up_where_it_is_said(order):
    """A person decides that the erasure weighs more."""
    row = pending_delivery(subject=order, payload={"name": "Ada"})

    out = run(order, "--yes", "--even-pending")

    assert "1 deliveries that wait, to be cancelled" in out
    assert Delivery.objects.get(pk=row.pk).state == State.CANCELLED
    assert payloads() == [forget_module.MARK]


def test_rows_of_other_tables_are_told_by_their_name(order, monkeypatch):
    """Scheduled jobs have payloads, too."""

    def of_orders(_using, label, *_, **__) -> Share:
        return Share(2, 1) if label == "shop.order" else Share(0, 0)

    monkeypatch.setitem(forget_module._others, "scheduled jobs", of_orders)

    out = run(order, "--yes")

    assert "2 scheduled jobs" in out
    assert "1 scheduled jobs left alone" in out
    assert out[-1] == "exit 1"


@pytest.mark.parametrize(
    ("subject", "why", "said"),
    [
        ("shop.Ordre:1", "x", "Did you mean 'shop.order'"),
        ("shop.Order", "x", "shop.User:42"),
        ("shop.Order:anna", "x", "no primary key"),
        ("shop.Order:1", "  ", "--why"),
    ],
)
def test_what_makes_no_sense_is_refused(subject, why, said, order):
    """A typo must not look like a person of whom nothing is kept."""
    told_of(order)

    with pytest.raises(CommandError, match=said):
        run(subject, "--yes", why=why)

    assert payloads() == [{"name": "Ada"}] * 2


def test_a_database_that_is_not_swept_is_refused(order):
    """A typo must not look like a database without the person."""
    with pytest.raises(CommandError, match="DATABASES"):
        call_command(
            "effects_forget", f"shop.Order:{order.pk}", why="x", database="nowhere", yes=True
        )


def test_one_bad_name_among_others_leaves_all_as_they_are(order):
    """Half an erasure would be taken for a whole one."""
    told_of(order)

    with pytest.raises(CommandError, match="ordre"):
        call_command("effects_forget", f"shop.Order:{order.pk}", "shop.Ordre:1", why="x", yes=True)

    assert payloads() == [{"name": "Ada"}] * 2
