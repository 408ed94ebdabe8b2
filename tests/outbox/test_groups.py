"""Harmless groups: claimed and completed together, and still each with its own fate."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import Snooze
from reliable_effects.clock import moved
from reliable_effects.conf import settings
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.finish import release_together
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.pace import pace
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import Flag, State
from reliable_effects.outbox.succeed import succeed_together
from reliable_effects.signals import delivery_succeeded
from tests.outbox.conftest import (
    carry_out,
    claim_of,
    listening,
    pending_delivery,
    runs_of,
    write_down,
)
from tests.shop.models import Order

pytestmark = pytest.mark.django_db(transaction=True)

SIZE = 10


def _group(effect, size: int = SIZE, **columns) -> list[Delivery]:
    pace.note(effect.name, 0.001)  # quick, so far
    return [pending_delivery(effect, **columns) for _ in range(size)]


def _ids(rows: list[Delivery]) -> list[int]:
    return [row.pk for row in rows]


def _read(rows: list[Delivery]) -> None:
    for row in rows:
        row.refresh_from_db()


@pytest.mark.usefixtures("unhurried")
def test_a_group_is_done_with_a_handful_of_queries(make_effect, handed_on):
    """That is what it is for: ten deliveries for the price of two."""
    rows = _group(make_effect(lambda *_: None, harmless_to_repeat=True))
    deliver("default", [pending_delivery(make_effect()).pk])  # the claim has been noted

    with CaptureQueriesContext(connection) as queries:
        deliver("default", _ids(rows), hand_on=handed_on)

    _read(rows)
    assert {row.state for row in rows} == {State.SUCCEEDED}
    assert {row.attempts for row in rows} == {1}
    assert handed_on == []
    # Look, claim, subjects, complete; portably the claim reads again, in a transaction.
    assert len(queries) <= (4 if connection.vendor == "postgresql" else 12)


@pytest.mark.usefixtures("unhurried")
def test_only_what_fails_in_a_group_has_failed(make_effect):
    """It shares a commit, not a fate."""
    bad = Order.objects.create(status="bad")

    def function(order, ctx):
        if order.status == "bad":
            raise ValueError("no")
        write_down(order, ctx)

    one = make_effect(function, harmless_to_repeat=True)
    rows = _group(one, 4)
    rows.insert(2, pending_delivery(one, subject=bad))

    deliver("default", _ids(rows))

    _read(rows)
    states = [State.SUCCEEDED] * 5
    states[2] = State.PENDING
    assert [row.state for row in rows] == states
    assert [row.attempts for row in rows] == [1] * 5


@pytest.mark.usefixtures("unhurried")
def test_a_group_member_may_snooze(make_effect):
    """Every outcome is open to it."""

    def function(order, _):
        if order.status == "later":
            raise Snooze(timedelta(hours=1))

    one = make_effect(function, harmless_to_repeat=True)
    rows = [*_group(one, 2), pending_delivery(one, subject=Order.objects.create(status="later"))]

    deliver("default", _ids(rows))

    _read(rows)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.SUCCEEDED, State.PENDING]
    assert rows[2].attempts == 0


@pytest.mark.usefixtures("unhurried")
def test_members_of_a_group_about_one_subject_share_no_object(make_effect):
    """What a failing effect did to it in memory, the next one would send or save."""
    seen = []

    def spoil(order, _ctx):
        order.status = "spoilt"
        raise ValueError

    spoiling = make_effect(spoil, harmless_to_repeat=True)
    looking = make_effect(lambda order, _: seen.append(order.status), harmless_to_repeat=True)
    order = Order.objects.create(status="placed")
    rows = [*_group(spoiling, 1, subject=order), *_group(looking, 2, subject=order)]

    deliver("default", _ids(rows))

    assert seen == ["placed", "placed"]


@pytest.mark.usefixtures("unhurried")
def test_a_deleted_subject_in_a_group_is_only_its_own(make_effect):
    """The group's subjects are loaded at once."""
    rows = _group(make_effect(harmless_to_repeat=True), 3)
    Order.objects.filter(pk=rows[1].event.subject_pk).delete()

    deliver("default", _ids(rows))

    _read(rows)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.POISONED, State.SUCCEEDED]


@pytest.mark.usefixtures("unhurried")
def test_a_subject_that_cannot_be_loaded_is_only_its_own(make_effect):
    """Then each loads its own, and one fails."""
    one = make_effect(harmless_to_repeat=True)
    rows = [*_group(one, 2), pending_delivery(one, event={"subject_pk": "no number"})]

    deliver("default", _ids(rows))

    _read(rows)
    assert [row.state for row in rows] == [State.SUCCEEDED, State.SUCCEEDED, State.PENDING]


@pytest.mark.usefixtures("unhurried")
def test_successes_are_written_soon_after_the_first(make_effect):
    """A death later in the group repeats a few, not fifty."""
    seen_done = []

    def function(*_):
        seen_done.append(Delivery.objects.filter(state=State.SUCCEEDED).count())
        time.sleep(0.006)  # the subject of this test is time that passes

    rows = _group(make_effect(function, harmless_to_repeat=True), 8)

    deliver("default", _ids(rows))

    _read(rows)
    assert seen_done[-1] > 0


def test_what_a_group_has_no_time_for_is_released_and_handed_on(make_effect, handed_on):
    """Unrun: its attempt is given back, and others may take it at once."""

    def function(order, ctx):
        time.sleep(0.03)
        write_down(order, ctx)

    rows = _group(make_effect(function, harmless_to_repeat=True), 12)

    deliver("default", _ids(rows), hand_on=handed_on)

    _read(rows)
    done = [row for row in rows if row.state == State.SUCCEEDED]
    rest = [row for row in rows if row.state == State.PENDING]
    assert done
    assert rest
    assert len(done) + len(rest) == len(rows)
    assert handed_on.ids == [_ids(rest)]
    assert {(row.attempts, row.claim_token, row.flags & Flag.GROUP) for row in rest} == {
        (0, None, 0)
    }
    assert [runs_of(row) for row in rest] == [0] * len(rest)


@pytest.mark.usefixtures("unhurried")
def test_a_group_is_marked_while_it_runs_and_not_after(make_effect):
    """The rescuer must know that any of them may have been the killer."""
    during = []
    rows = _group(
        make_effect(
            lambda *_: during.extend(Delivery.objects.values_list("flags", flat=True)),
            harmless_to_repeat=True,
        ),
        2,
    )

    deliver("default", _ids(rows))

    _read(rows)
    assert all(flags & Flag.GROUP for flags in during[:2])
    assert not any(row.flags & Flag.GROUP for row in rows)


def test_what_must_be_alone_is_never_grouped(make_effect, handed_on):
    """It died while running; nobody shares its fate again."""
    grouped = {}

    def tell(_order, ctx) -> None:
        flags = Delivery.objects.values_list("flags", flat=True).get(pk=ctx.delivery_id)
        grouped[ctx.delivery_id] = bool(flags & Flag.GROUP)

    one = make_effect(tell, harmless_to_repeat=True)
    rows = _group(one, 3)
    alone = pending_delivery(one, flags=Flag.ALONE | Flag.BEGUN)

    deliver("default", [*_ids(rows), alone.pk], hand_on=handed_on)
    carry_out(alone)

    assert alone.state == State.SUCCEEDED
    assert grouped == dict.fromkeys(_ids(rows), True) | {alone.pk: False}


@pytest.mark.usefixtures("unhurried")
def test_one_that_may_not_be_repeated_is_never_grouped(make_effect):
    """Its completion must be on disk before the next begins."""
    during = []
    one = make_effect(lambda *_: during.append(Delivery.objects.filter(state=1).count()))

    deliver("default", _ids(_group(one, 3)))

    assert during == [1, 1, 1]


def test_a_dead_group_spends_nobodys_attempt(make_effect):
    """Any of them may have done it, so from now on each is alone."""
    one = make_effect(harmless_to_repeat=True)
    rows = _group(one, 3)
    claim(look("default", _ids(rows)), group=True)

    with moved(one.lease + timedelta(seconds=1)):
        rescue("default", Turn(None))

    _read(rows)
    assert {row.state for row in rows} == {State.PENDING}
    assert {row.attempts for row in rows} == {0}
    assert all(row.flags & Flag.ALONE and not row.flags & Flag.GROUP for row in rows)


def test_a_group_completes_only_what_it_still_holds(make_effect):
    """One member was thought dead, and another worker has done it meanwhile."""
    one = make_effect(harmless_to_repeat=True)
    rows = _group(one, 3)
    held = claim(look("default", _ids(rows)), group=True)
    release_together(held[1:2])
    carry_out(rows[1])

    won = succeed_together(held)

    assert [c.id for c in won] == [rows[0].pk, rows[2].pk]


def test_a_group_releases_only_what_it_still_holds(make_effect):
    """The attempt of another worker's run is not ours to give back."""
    one = make_effect(harmless_to_repeat=True)
    rows = _group(one, 2)
    held = claim(look("default", _ids(rows)), group=True)
    release_together(held[:1])
    newer = claim_of(rows[0])

    release_together(held)

    _read(rows)
    assert rows[0].claim_token == newer.token
    assert rows[0].attempts == 1
    assert rows[1].attempts == 0


@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL can hurry")
@pytest.mark.usefixtures("unhurried")
def test_only_groups_commit_asynchronously(make_effect):
    """What may not be repeated is on disk before the next begins."""
    grouped = _group(make_effect(lambda *_: None, harmless_to_repeat=True), 3)
    single = _group(make_effect(lambda *_: None), 3)

    with CaptureQueriesContext(connection) as of_group:
        deliver("default", _ids(grouped))
    with CaptureQueriesContext(connection) as of_singles:
        deliver("default", _ids(single))
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        after = cursor.fetchone()

    hurried = [q["sql"] for q in of_group if "synchronous_commit" in q["sql"]]
    assert len(hurried) == 2  # the claim and the completion
    assert all("'off', true" in sql for sql in hurried)
    assert not [q for q in of_singles if "synchronous_commit" in q["sql"]]
    assert after == ("on",)


@pytest.mark.usefixtures("unhurried")
def test_each_member_of_a_group_is_told(make_effect):
    """After the commit that they share."""
    rows = _group(make_effect(harmless_to_repeat=True), 3)

    with listening(delivery_succeeded) as told:
        deliver("default", _ids(rows))

    assert [t["delivery_id"] for t in told] == _ids(rows)


def test_who_hangs_keeps_its_group_no_longer_than_a_lost_hint_would(make_effect):
    """The others wait for it while they are claimed; they need not wait for its whole timeout."""
    harmless = make_effect(lambda *_: None, harmless_to_repeat=True, timeout=timedelta(hours=1))
    rows = _group(harmless)
    claim(look("default", _ids(rows)), group=True)

    with moved(settings().relay_grace + timedelta(seconds=1)):
        rescue("default", Turn(None))

    _read(rows)
    assert {row.state for row in rows} == {State.PENDING}
    assert {row.attempts for row in rows} == {0}
