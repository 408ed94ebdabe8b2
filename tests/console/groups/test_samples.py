"""A group shows one of its pills, and nothing of one that was forgotten or deleted."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.outbox import prune, remedy
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.models import Attempt, Delivery
from tests.console.groups.conftest import REFUSED, grouped, pill, the_group
from tests.shop.models import Order
from tests.sweeps.conftest import locked

pytestmark = pytest.mark.django_db


def forgotten(subject: Order, **options):
    return forget(subject, by="ada", why="asked", **options)


def test_the_sample_is_the_newest_pill():
    """What went wrong last is what a person looks for."""
    pill(attempt={"message": "first"})
    grouped()
    newest = pill(attempt={"message": "second"})

    grouped()

    assert (the_group().sample_delivery_id, the_group().sample_message) == (newest.pk, "second")


def test_a_long_message_is_cut():
    """The delivery's page has all of it."""
    pill(attempt={"message": "ä" * 4000})

    grouped()

    assert 0 < len(the_group().sample_message.encode()) <= 1000


def test_who_is_forgotten_is_in_no_sample():
    """An error's text names people."""
    order = Order.objects.create()
    pill(subject=order, attempt={"message": "no courier for Ada Lovelace"})
    grouped()

    foreseen = forgotten(order, dry_run=True)
    assert "Ada" in the_group().sample_message
    told = forgotten(order)

    assert foreseen.others["samples of failures"].blanked == 1
    assert told.others["samples of failures"].blanked == 1
    assert (the_group().sample_message, the_group().sample_delivery_id) == ("", None)
    again = forgotten(order)
    assert again.others["samples of failures"].blanked == 0
    grouped()
    assert the_group().sample_message == "(forgotten)"


def test_what_is_grouped_after_it_was_forgotten_tells_nothing():
    """The sweep may come by later than the erasure."""
    order = Order.objects.create()
    pill(subject=order, attempt={"message": "no courier for Ada Lovelace"})

    forgotten(order)
    grouped()

    assert the_group().sample_message == "(forgotten)"


def test_another_person_is_another_sample():
    """One who is forgotten takes nothing from the others."""
    order = Order.objects.create()
    pill(attempt={"message": "of somebody else"})
    grouped()

    forgotten(order)

    assert the_group().sample_message == "of somebody else"


def test_a_pruned_sample_makes_room_for_another(settings):
    """Its attempts are gone, and so is what was copied of them."""
    settings.RELIABLE_EFFECTS = {"RETENTION_BY_STATE": {"POISONED": timedelta(days=30)}}
    kept, old = pill(attempt={"message": "kept"}), pill(attempt={"message": "old"})
    grouped()
    assert the_group().sample_message == "old"
    Delivery.objects.filter(pk=old.pk).update(finished_at="2020-01-01T00:00Z")

    prune.prune("default")
    assert (the_group().sample_message, the_group().sample_delivery_id) == ("", None)
    grouped()

    assert (the_group().sample_message, the_group().sample_delivery_id) == ("kept", kept.pk)
    assert the_group().pills == 1


def test_a_sample_that_was_redriven_makes_room_for_another():
    """It may have succeeded, and nobody wants to look at that."""
    left, newest = pill(), pill()
    grouped()

    remedy.redrive(remedy.of("default", [newest.pk]), by="ada", why="perhaps")
    grouped()

    assert the_group().sample_delivery_id == left.pk


def test_a_group_that_is_over_keeps_its_last_sample():
    """Until that is deleted or forgotten: history says what it was."""
    row = pill()
    grouped()

    remedy.cancel(remedy.of("default", [row.pk]), by="ada", why="over")
    grouped()

    assert the_group().sample_delivery_id == row.pk


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows")
def test_no_sample_is_chosen_while_somebody_holds_it():
    """Who holds it may be forgetting it: what is read then, nobody would find again."""
    held, newest = pill(), pill()
    grouped()
    remedy.redrive(remedy.of("default", [newest.pk]), by="ada", why="perhaps")

    with locked(held):
        grouped()

    assert the_group().sample_delivery_id == newest.pk
    grouped()
    assert the_group().sample_delivery_id == held.pk


def test_a_sample_without_attempts_has_no_message():
    """An effect that nobody knows was never tried."""
    row = pill()
    Attempt.objects.all().delete()
    Delivery.objects.filter(pk=row.pk).update(fingerprint=REFUSED)
    FailureGroup.objects.create(
        fingerprint=REFUSED,
        effect="shop.wrap",
        pills=1,
        first_seen_at=row.finished_at,
        last_seen_at=row.finished_at,
    )

    grouped()

    group = the_group()
    assert (group.sample_delivery_id, group.sample_message) == (row.pk, "")
    assert group.sample_attempt is None
