"""What a person may do to deliveries, and what stays as it was."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from reliable_effects import signals
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import CANCELLABLE, REDRIVABLE, Flag, State
from tests.outbox.conftest import (
    IN_STATE,
    carry_out,
    listening,
    poisoned_delivery,
    raising,
    running_delivery,
    uncertain_delivery,
)

pytestmark = pytest.mark.django_db

VERBS = {"redrive": remedy.redrive, "cancel": remedy.cancel}
LEADS_TO = {"redrive": State.PENDING, "cancel": State.CANCELLED}


def act(verb, *deliveries):
    rows = remedy.of("default", [delivery.pk for delivery in deliveries])
    return VERBS[verb](rows, by="ada", why="the partner is back")


def as_stored(delivery):
    return Delivery.objects.filter(pk=delivery.pk).values().get()


@pytest.mark.parametrize("state", REDRIVABLE)
def test_what_can_be_redriven_waits_again_with_all_its_attempts(state):
    """A person starts it anew: the attempts that were spent say nothing about the next ones."""
    delivery = IN_STATE[state]()

    changed = act("redrive", delivery)

    delivery.refresh_from_db()
    assert [row.pk for row in changed] == [delivery.pk]
    assert (delivery.state, delivery.reason) == (State.PENDING, "")
    assert (delivery.attempts, delivery.hints, delivery.finished_at) == (0, 0, None)
    assert Delivery.objects.due().filter(pk=delivery.pk).exists()


@pytest.mark.parametrize("state", CANCELLABLE)
def test_what_can_be_cancelled_is_looked_at_no_more(state):
    """Given up is an end: no sweep may find it again."""
    delivery = IN_STATE[state]()

    changed = act("cancel", delivery)

    delivery.refresh_from_db()
    assert [row.pk for row in changed] == [delivery.pk]
    assert (delivery.state, delivery.reason) == (State.CANCELLED, "")
    assert delivery.look_at is None
    assert delivery.finished_at is not None


@pytest.mark.parametrize(
    ("verb", "state"),
    [("redrive", s) for s in State if s not in REDRIVABLE]
    + [("cancel", s) for s in State if s not in CANCELLABLE],
)
def test_any_other_state_is_left_as_it_was(verb, state):
    """What runs has a worker, and what happened cannot be taken back."""
    delivery = IN_STATE[state]()
    before = as_stored(delivery)

    changed = act(verb, delivery)

    assert changed == []
    assert as_stored(delivery) == before


@pytest.mark.parametrize("verb", VERBS)
def test_a_row_that_is_claimed_in_between_is_refused(verb):
    """Between reading and writing a worker may take it; the guard is in the UPDATE."""
    delivery = uncertain_delivery()

    class ClaimedMeanwhile(type(Delivery.objects.all())):
        def __iter__(self):
            for row in super().__iter__():
                Delivery.objects.filter(pk=row.pk).update(
                    state=State.RUNNING, look_at=None, claim_token=1, lease_expires_at=row.due_at
                )
                yield row

    changed = VERBS[verb](ClaimedMeanwhile(Delivery).filter(pk=delivery.pk), by="ada", why="")

    delivery.refresh_from_db()
    assert changed == []
    assert (delivery.state, delivery.claim_token) == (State.RUNNING, 1)


@pytest.mark.parametrize("state", REDRIVABLE)
def test_a_redrive_keeps_the_key_that_partners_know(state):
    """A new key would let a partner apply twice what it may have applied once."""
    delivery = IN_STATE[state](generation=2)
    key = delivery.idempotency_key

    act("redrive", delivery)

    before, delivery = delivery, Delivery.objects.get(pk=delivery.pk)
    assert (delivery.key, delivery.generation) == (before.key, 2)
    assert delivery.idempotency_key == key


@pytest.mark.parametrize("state", set(REDRIVABLE) - {State.UNCERTAIN})
def test_the_redrive_of_an_ended_row_begins_a_new_round(state):
    """What it emits this time is new, though what it emitted last time stands."""
    delivery = IN_STATE[state](notes={"round": 3, "kills": 2, "snoozed": 60.0})

    act("redrive", delivery)

    delivery.refresh_from_db()
    assert delivery.notes == {"round": 4}


def test_an_uncertain_row_goes_on_in_its_round():
    """Its last run may have emitted: a new round would emit the same again."""
    delivery = uncertain_delivery(look_at=None, notes={"round": 3, "verifies": 5})

    act("redrive", delivery)

    delivery.refresh_from_db()
    assert delivery.notes == {"round": 3}


def test_a_killer_that_is_redriven_still_runs_alone():
    """A person's hope does not make it harmless to its neighbours."""
    delivery = poisoned_delivery(flags=Flag.BEGUN | Flag.ALONE)

    act("redrive", delivery)

    delivery.refresh_from_db()
    assert delivery.flags & Flag.ALONE


def test_a_redriven_delivery_is_carried_out(make_effect):
    """The point of it."""
    delivery = poisoned_delivery(make_effect())
    act("redrive", delivery)

    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_a_redriven_delivery_that_fails_again_is_poisoned_again(make_effect):
    """A redrive gives a round of attempts, not a pass."""
    delivery = poisoned_delivery(make_effect(raising(ValueError("still broken")), max_attempts=1))
    act("redrive", delivery)

    carry_out(delivery)

    assert delivery.state == State.POISONED


@pytest.fixture
def refuses_writes():
    """The database refuses every change of the row that is given."""
    made = []

    def refuse(delivery):
        name = f"refuse_{delivery.pk}"
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute(
                    f"CREATE TRIGGER {name} BEFORE UPDATE ON reliable_effects_delivery"
                    f" WHEN OLD.id = {delivery.pk} BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            elif connection.vendor == "postgresql":
                cursor.execute(
                    f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS"
                    " $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
                    f"CREATE TRIGGER {name} BEFORE UPDATE ON reliable_effects_delivery FOR EACH ROW"
                    f" WHEN (OLD.id = {delivery.pk}) EXECUTE FUNCTION {name}()"
                )
            else:
                cursor.execute(
                    f"CREATE TRIGGER {name} BEFORE UPDATE ON reliable_effects_delivery FOR EACH ROW"
                    f" IF OLD.id = {delivery.pk} THEN SIGNAL SQLSTATE '45000'"
                    " SET MESSAGE_TEXT = 'no'; END IF"
                )
        made.append(name)

    yield refuse
    with connection.cursor() as cursor:
        for name in made:
            if connection.vendor == "postgresql":
                cursor.execute(f"DROP TRIGGER {name} ON reliable_effects_delivery")
                cursor.execute(f"DROP FUNCTION {name}")
            else:
                cursor.execute(f"DROP TRIGGER {name}")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("in_a_transaction", [False, True])
@pytest.mark.parametrize("verb", VERBS)
def test_one_bad_row_never_stops_the_others(verb, in_a_transaction, refuses_writes):
    """Also where the caller has a transaction open, which an error would otherwise spoil."""
    first, bad, last = (poisoned_delivery() for _ in range(3))
    refuses_writes(bad)

    if in_a_transaction:
        with transaction.atomic():
            changed = act(verb, first, bad, last)
    else:
        changed = act(verb, first, bad, last)

    states = dict(Delivery.objects.values_list("pk", "state"))
    assert {row.pk for row in changed} == {first.pk, last.pk}
    assert states[bad.pk] == State.POISONED
    assert states[first.pk] == states[last.pk] == LEADS_TO[verb]


@pytest.mark.django_db(transaction=True)
def test_a_redrive_is_told_with_who_and_why():
    """Whoever watches learns of it from the signal."""
    delivery = poisoned_delivery("shop.wrap")

    with listening(signals.delivery_redriven) as told:
        act("redrive", delivery)

    (fact,) = told
    assert (fact["delivery_id"], fact["key"], fact["using"]) == (
        delivery.pk, delivery.key, "default",
    )  # fmt: skip
    assert (fact["by"], fact["why"]) == ("ada", "the partner is back")
    assert fact["sender"].name == "shop.wrap"


@pytest.mark.django_db(transaction=True)
def test_a_redrive_that_is_rolled_back_is_never_told():
    """Signals tell what is committed."""
    delivery = poisoned_delivery()

    with listening(signals.delivery_redriven) as told, transaction.atomic():
        act("redrive", delivery)
        transaction.set_rollback(True)

    assert told == []


@pytest.mark.parametrize("verb", VERBS)
def test_the_forecast_says_what_then_happens(verb):
    """A remedy says beforehand what it will do."""
    rows = {state: make() for state, make in IN_STATE.items()}
    everything = remedy.of("default", [row.pk for row in rows.values()])

    told = remedy.forecast(verb, everything)

    changed = VERBS[verb](everything, by="ada", why="")
    assert {f.state for f in told if not f.left_alone} == {State(row.state) for row in changed}
    assert sum(f.count for f in told) == len(State)


def test_the_forecast_groups_what_stands_alike():
    """Three poison pills of one effect are one line, not three."""
    for _ in range(3):
        poisoned_delivery("shop.wrap")
    running_delivery("shop.wrap")

    told = remedy.forecast("redrive", Delivery.objects.all())

    assert [(f.state, f.count, bool(f.left_alone)) for f in told] == [
        (State.POISONED, 3, False),
        (State.RUNNING, 1, True),
    ]
