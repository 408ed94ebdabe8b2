"""effects_prune does at once what the sweep does by and by, and says what."""

from __future__ import annotations

import io

import pytest
from django.core.management import CommandError, call_command

from reliable_effects.clock import DbNow
from reliable_effects.outbox import prune as prune_module
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import Reason
from tests.outbox.conftest import (
    an_event,
    poisoned_delivery,
    skipped_delivery,
    succeeded_delivery,
)
from tests.shop.effects import charge_card
from tests.shop.models import Order
from tests.sweeps.conftest import DAY

pytestmark = pytest.mark.django_db(transaction=True)

OLD = {"finished_at": DbNow() - 8 * DAY, "event": {"emitted_at": DbNow() - 8 * DAY}}


def prune(*arguments) -> list[str]:
    out = io.StringIO()
    call_command("effects_prune", *arguments, stdout=out, stderr=out)
    return [" ".join(line.split()) for line in out.getvalue().splitlines()]


@pytest.fixture
def many(monkeypatch) -> None:
    """Three that may go, one that is owed, one event of its own, and what stays; in batches of two."""
    monkeypatch.setattr(prune_module, "_BATCH", 2)
    for _ in range(2):
        succeeded_delivery(**OLD)
    skipped_delivery("shop.send_receipt", **OLD)
    succeeded_delivery(charge_card, subject=Order.objects.create(), **OLD)
    an_event(emitted_at=DbNow() - 8 * DAY)
    poisoned_delivery(**OLD)
    skipped_delivery(reason=Reason.EXPIRED, **OLD)
    succeeded_delivery()


FORECAST = [
    "1 shop.send_receipt skipped NOT_NEEDED {}",
    "2 shop.wrap succeeded {}",
    "1 shop.charge_card succeeded kept: still owed",
    "1 events for which nothing is owed {}",
]


@pytest.mark.usefixtures("many")
def test_a_dry_run_says_by_effect_and_state_what_would_go():
    """Whoever sets a retention wants to know first."""
    out = prune("--dry-run", "--database", "default")

    assert out == [
        "database default",
        *(line.format("will be deleted") for line in FORECAST),
        "Nothing was changed.",
    ]
    assert (Delivery.objects.count(), OutboxEvent.objects.count()) == (7, 8)


@pytest.mark.usefixtures("many")
def test_it_goes_on_to_the_end_and_says_what_went(monkeypatch):
    """However many batches that takes: no bound of time is its own."""
    monkeypatch.setattr(prune_module, "_BOUND", 0.0)

    out = prune("--database", "default")

    assert out == ["database default", *(line.format("deleted") for line in FORECAST)]
    assert (Delivery.objects.count(), OutboxEvent.objects.count()) == (4, 4)


@pytest.mark.usefixtures("many")
def test_it_tells_how_far_it_is(monkeypatch):
    """A table of years takes a while."""
    monkeypatch.setattr("reliable_effects.management.commands.effects_prune._TOLD_EVERY", -1)

    out = prune("--database", "default")

    assert "looked at 4 rows, 3 of them may go" in out


def test_a_second_time_there_is_nothing_left():
    """And that is said."""
    succeeded_delivery(**OLD)
    prune("--database", "default")

    assert prune("--database", "default") == ["database default", "nothing is old enough"]


def test_a_database_that_is_not_swept_is_refused():
    """A typo must not look like an empty table."""
    with pytest.raises(CommandError, match="DATABASES"):
        prune("--database", "nowhere")
