"""A person puts another payload in the place of the event's, for one delivery, and redrives it."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from reliable_effects import Event, signals
from reliable_effects.exceptions import BadPayload
from reliable_effects.outbox import edits, prune, remedy
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.forget import MARK, forget
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.payloads import PayloadEdit
from reliable_effects.outbox.states import ANEW, Flag, Notes, Reason, State
from reliable_effects.reconcile import mend
from reliable_effects.reconcile.classify import Standing
from tests.outbox.conftest import (
    IN_STATE,
    carry_out,
    claim_of,
    listening,
    pending_delivery,
    poisoned_delivery,
    succeeded_delivery,
    uncertain_delivery,
)
from tests.shop.models import LedgerEntry, Order

pytestmark = pytest.mark.django_db

RECEIPT = "shop.send_receipt"
PLACED = {"name": "shop.order_placed", "source": "emit"}
WORD = {"may_start_anew": True, "did_not_happen": True}


def edited(row, payload, **options):
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return edits.edit(row, text, by="ada", why="a typing error", **options)


def fresh(**columns) -> Delivery:
    """Never claimed: nothing can have been sent under its key."""
    return pending_delivery(RECEIPT, event=PLACED, payload={"coupon": "OLD"}, **columns)


def failed(**columns) -> Delivery:
    return poisoned_delivery(RECEIPT, event=PLACED, payload={"coupon": "OLD"}, **columns)


def as_stored(row):
    return Delivery.objects.filter(pk=row.pk).values().get()


# What an edit does


def test_the_effect_gets_the_edited_payload_and_the_event_stays():
    """The event is a fact, and others run because of it too."""
    row = failed()

    result = edited(row, {"coupon": "NEW"}, **WORD)
    carry_out(row)

    assert result.left_alone == ""
    assert row.state == State.SUCCEEDED
    assert LedgerEntry.objects.get().what == "receipt NEW"
    assert OutboxEvent.objects.get().payload == {"coupon": "OLD"}


def test_the_old_payload_and_who_and_why_are_kept():
    """A year later somebody asks."""
    row = failed()
    first = edited(row, {"coupon": "ONE"}, **WORD).edit
    row.refresh_from_db()
    second = edited(row, {"coupon": "TWO"}, **WORD).edit

    kept = list(PayloadEdit.objects.order_by("pk").values("payload", "previous", "by", "why"))
    said = {"by": "ada", "why": "a typing error"}
    assert kept == [
        {"payload": {"coupon": "ONE"}, "previous": None, **said},
        {"payload": {"coupon": "TWO"}, "previous": first.pk, **said},
    ]
    assert second.event_id == row.event_id


def test_other_deliveries_of_the_event_keep_its_payload():
    """One of them was wrong with it; the others are not asked."""
    row = failed()
    sibling = pending_delivery(RECEIPT, event=row.event)

    edited(row, {"coupon": "NEW"}, **WORD)
    carry_out(sibling)

    assert LedgerEntry.objects.get().what == "receipt OLD"


@pytest.mark.parametrize("remedied", ["redrive", "start_anew", "cancelled and redriven"])
def test_an_edit_outlives_a_later_redrive(remedied):
    """What a person has corrected must not come back as it was."""
    row = failed()
    edited(row, {"coupon": "NEW"}, **WORD)
    rows = remedy.of("default", [row.pk])
    said = {"by": "ada", "why": "again"}
    match remedied:
        case "start_anew":
            remedy.start_anew(rows, did_not_happen=True, **said)
        case "redrive":
            Delivery.objects.update(state=State.POISONED, look_at=None, finished_at=timezone.now())
            remedy.redrive(rows, **said)
        case _:
            remedy.cancel(rows, **said)
            remedy.redrive(rows, **said)
    carry_out(row)

    assert LedgerEntry.objects.get().what == "receipt NEW"


def test_an_edit_whose_row_is_gone_makes_the_delivery_unreadable():
    """To run the payload that somebody rejected would be worse than to stop."""
    row = failed()
    edited(row, {"coupon": "NEW"}, **WORD)
    PayloadEdit.objects.all().delete()

    carry_out(row)

    assert (row.state, row.reason) == (State.POISONED, Reason.UNREADABLE)
    assert not LedgerEntry.objects.exists()
    assert "edited by a person" in Attempt.objects.get().message


@pytest.mark.parametrize("note", [None, "7", -1, 0, 1.0, True, 2**70, [7], {"id": 7}])
def test_a_note_that_names_no_edit_is_not_taken_for_none(note):
    """Whoever damaged it, the old payload does not run by itself."""
    row = fresh(notes={Notes.EDIT: note})

    carry_out(row)

    assert row.reason == Reason.UNREADABLE
    assert not LedgerEntry.objects.exists()


def test_a_note_that_names_an_edit_of_another_delivery_is_not_followed():
    """Its payload is about somebody else."""
    other = failed()
    edit = edited(other, {"coupon": "OTHER"}, **WORD).edit
    row = fresh(notes={Notes.EDIT: edit.pk})

    carry_out(row)

    assert row.reason == Reason.UNREADABLE


def test_a_debt_that_moved_to_a_newer_event_runs_with_that_ones_payload():
    """The edit was of the earlier promise."""
    row = fresh()
    edited(row, {"coupon": "EDITED"})
    newer = pending_delivery(RECEIPT, event=PLACED, payload={"coupon": "NEWER"}).event
    Delivery.objects.filter(pk=row.pk).update(event_id=newer.pk)

    carry_out(row)

    assert LedgerEntry.objects.get().what == "receipt NEWER"


def test_an_edit_waits_for_a_worker_that_knows_its_version():
    """A later release wrote it; this one does not guess."""
    row = failed()
    edited(row, {"coupon": "NEW"}, **WORD)
    PayloadEdit.objects.update(version=9)

    carry_out(row)

    assert (row.state, row.attempts) == (State.PENDING, 0)
    assert "unknown_since" in row.notes


def test_it_is_told_as_a_redrive(django_capture_on_commit_callbacks):
    """Who listens to redrives hears of this one."""
    row = failed()

    with (
        listening(signals.delivery_redriven) as told,
        django_capture_on_commit_callbacks(execute=True),
    ):
        edited(row, {"coupon": "NEW"}, **WORD)

    assert [(each["delivery_id"], each["by"]) for each in told] == [(row.pk, "ada")]


def test_what_is_reopened_because_it_is_still_owed_runs_with_its_edit():
    """It was found that it had not helped; not that the old payload was right."""
    row = succeeded_delivery(RECEIPT, event=PLACED, notes={Notes.EDIT: 7})
    standing = Standing(row.pk, row.key, State.SUCCEEDED, "", None, row.notes, row.event_id, True)

    assert mend._anew(standing, Notes.REOPENED)["notes"][Notes.EDIT] == 7


# On what terms


def test_what_never_ran_keeps_its_key():
    """Nobody has heard of the key yet."""
    row = fresh()

    result = edited(row, {"coupon": "NEW"})

    row.refresh_from_db()
    assert (result.left_alone, result.anew, row.generation) == ("", False, 0)


def test_what_could_not_be_read_at_its_first_run_keeps_its_key():
    """The effect was not called: this is what edits are for."""
    row = pending_delivery(RECEIPT, event=PLACED, payload={"coupon": 5})
    carry_out(row)
    assert row.reason == Reason.UNREADABLE

    result = edited(row, {"coupon": "FIVE"})
    carry_out(row)

    assert (result.left_alone, row.generation, row.state) == ("", 0, State.SUCCEEDED)


@pytest.mark.parametrize(
    "columns",
    [
        {"notes": {Notes.ROUND: 1}},
        {"notes": {Notes.INTERRUPTED: 1}},
        {"notes": "damaged"},
        {"flags": Flag.BEGUN | Flag.ALONE},
        {"attempts": 1},
        {"generation": 1},
    ],
)
def test_what_could_not_be_read_later_may_have_run_before(columns):
    """A snooze, an interruption or a lost group leave no attempt behind."""
    columns = {"reason": Reason.UNREADABLE, "attempts": 0, **columns}

    row = failed(**columns)

    assert edits.terms_of(row, row.event).needs_word


def test_what_could_not_be_read_and_has_failed_before_may_have_happened():
    """An attempt is on record."""
    row = failed(reason=Reason.UNREADABLE, attempts=0)
    Attempt.objects.create(delivery=row, number=1, outcome=Attempt.Outcome.FAILED)

    assert edits.terms_of(row, row.event).needs_word


@pytest.mark.parametrize("make", [failed, lambda: uncertain_delivery(RECEIPT, event=PLACED)])
def test_what_may_have_been_sent_is_edited_only_on_a_persons_word_and_under_a_new_key(make):
    """The partner knows the key with the payload from before."""
    row = make()
    key = row.idempotency_key
    before = as_stored(row)
    for options in ({}, {"may_start_anew": True}, {"did_not_happen": True}):
        assert edited(row, {"coupon": "NEW"}, **options).left_alone
        assert as_stored(row) == before
        assert not PayloadEdit.objects.exists()

    result = edited(row, {"coupon": "NEW"}, **WORD)

    row.refresh_from_db()
    assert result.anew
    assert row.idempotency_key != key
    assert PayloadEdit.objects.get().generation == row.generation == 1


def test_what_surely_did_not_happen_needs_no_word_but_a_new_key():
    """A partner that refused it remembers the key with what it refused."""
    row = failed(notes={Notes.ABSENT: 1, Notes.DENIED: 7})

    assert edited(row, {"coupon": "NEW"}).left_alone
    result = edited(row, {"coupon": "NEW"}, may_start_anew=True)

    row.refresh_from_db()
    assert (result.left_alone, row.generation) == ("", 1)


@pytest.mark.parametrize("state", [State.PENDING, State.UNCERTAIN])
def test_what_was_found_to_be_owed_may_have_been_sent_before_our_row_was_lost(state):
    """Reconcile has made it up under the same key; the partner may have known that for a year."""
    made_up = PLACED | {"source": "reconcile"}
    row = pending_delivery(RECEIPT, event=made_up, payload={"coupon": "OLD"}, state=state)

    assert edited(row, {"coupon": "NEW"}).left_alone
    assert edited(row, {"coupon": "NEW"}, may_start_anew=True).left_alone
    result = edited(row, {"coupon": "NEW"}, **WORD)

    assert result.anew
    row.refresh_from_db()
    assert row.generation == 1


@pytest.mark.parametrize("state", [s for s in State if s not in ANEW])
def test_what_runs_or_has_happened_is_left_alone(state):
    """Nobody can call it back."""
    row = IN_STATE[state](RECEIPT, event=PLACED)
    before = as_stored(row)

    result = edited(row, {"coupon": "NEW"}, **WORD)

    assert result.left_alone
    assert as_stored(row) == before
    assert not PayloadEdit.objects.exists()


@pytest.mark.parametrize("state", ANEW)
def test_whatever_can_be_started_anew_can_be_edited(state):
    """And is due at once, with all its attempts."""
    row = IN_STATE[state](RECEIPT, event=PLACED)

    assert edited(row, {"coupon": "NEW"}, **WORD).left_alone == ""

    row.refresh_from_db()
    assert (row.state, row.attempts, row.reason) == (State.PENDING, 0, "")
    assert Delivery.objects.due().filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda: OutboxEvent.objects.all().delete(), "event is not in the database"),
        (lambda: OutboxEvent.objects.update(version=0), "forgotten"),
        (lambda: OutboxEvent.objects.update(version=2), "version 2"),
        (lambda: Delivery.objects.update(effect="gone.effect"), "does not know its effect"),
    ],
)
def test_where_nobody_can_check_a_payload_none_is_written(spoil, told):
    """An edit that cannot be read would only move the trouble."""
    row = failed()
    spoil()
    row = Delivery.objects.get(pk=row.pk)

    assert told in edited(row, {"coupon": "NEW"}, **WORD).left_alone
    assert not PayloadEdit.objects.exists()


def test_what_changed_since_it_was_shown_is_left_alone():
    """Who saw it poisoned has not agreed to edit what somebody redrove."""
    row = failed()
    shown = edits.stamp(row)
    remedy.cancel(remedy.of("default", [row.pk]), by="bob", why="given up")

    result = edited(row, {"coupon": "NEW"}, shown=shown, **WORD)

    assert result.left_alone == edits.CHANGED


def test_the_same_form_sent_twice_edits_once():
    """A double click is one wish."""
    row = failed()
    shown = edits.stamp(row)

    results = [edited(row, {"coupon": "NEW"}, shown=shown, **WORD) for _ in range(2)]

    assert [bool(result.edit) for result in results] == [True, False]
    row.refresh_from_db()
    assert row.generation == 1
    assert PayloadEdit.objects.count() == 1


def test_an_edit_without_a_reason_is_refused():
    """An audit entry without a why answers no question."""
    with pytest.raises(ValueError, match="why"):
        edits.edit(failed(), "{}", by="ada", why=" ", **WORD)


# What is checked


@pytest.mark.parametrize(
    ("text", "path", "problem"),
    [
        ("", "", "no JSON"),
        ('{"coupon": ', "", "line 1"),
        ("[]", "", "list"),
        ('{"coupon": 5}', "coupon", "str was declared"),
        ('{"coupn": "X"}', "coupn", "no field"),
        ('{"coupon": NaN}', "", "NaN"),
        ('{"coupon": ' + "9" * 5000 + "}", "", "cannot be read"),
        ("[" * 100_000, "", ""),
        (json.dumps({"coupon": "x" * 70_000}), "", "bytes of JSON"),
        ('{"coupon": "a\\u0000b"}', "coupon", "NUL"),
        ('{"coupon": "\\ud800"}', "coupon", "surrogate"),
    ],
)
def test_what_is_no_payload_of_the_event_is_refused_by_name_before_anything_is_written(
    text, path, problem
):
    """A worker would find out later, and nobody would be looking."""
    row = failed()
    before = as_stored(row)

    with pytest.raises(BadPayload) as refused:
        edited(row, text, **WORD)

    assert refused.value.path == path
    assert problem in refused.value.problem
    assert as_stored(row) == before
    assert not PayloadEdit.objects.exists()


@pytest.mark.usefixtures("make_effect")
def test_a_type_of_the_projects_that_raises_whatever_it_likes_is_a_refusal():
    """Not a server error."""

    @dataclass
    class Picky:
        size: int

        def __post_init__(self):
            raise KeyError(self.size)

    event = Event("test.picky", subject="shop.Order", payload=Picky)

    with pytest.raises(BadPayload, match="Picky"):
        edits.checked('{"size": 1}', event)


def test_a_person_edits_the_payload_as_this_release_declares_it(make_effect):
    """Not as an earlier one wrote it: what is saved is of this version."""
    event = Event(
        "test.grown", subject="shop.Order", version=2, upcast={1: lambda p: p | {"grown": True}}
    )
    effect = make_effect(on=event)
    row = poisoned_delivery(
        effect, event={"name": "test.grown", "source": "emit"}, payload={"a": 1}
    )

    text = edits.as_text(row, row.event)
    edited(row, text, **WORD)

    assert json.loads(text) == {"a": 1, "grown": True}
    assert PayloadEdit.objects.get().version == 2


def test_what_this_release_cannot_read_is_edited_as_it_is_stored():
    """It is what has to be mended."""
    row = poisoned_delivery(RECEIPT, event=PLACED, payload={"coupon": 5})

    assert json.loads(edits.as_text(row, row.event)) == {"coupon": 5}


# What becomes of edits


def test_edits_are_pruned_with_their_delivery(settings):
    """They are payloads, and kept no longer."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "RETENTION": timedelta(days=1)}
    row = succeeded_delivery("shop.wrap", finished_at=timezone.now() - timedelta(days=2))
    PayloadEdit.objects.create(
        delivery=row, event_id=row.event_id, version=1, generation=0, by="ada", why="x"
    )
    kept = edited(failed(), {"coupon": "NEW"}, **WORD).edit

    prune.prune("default")

    assert not Delivery.objects.filter(pk=row.pk).exists()
    assert list(PayloadEdit.objects.all()) == [kept]


def test_edits_are_forgotten_with_their_subject():
    """They may say more of a person than the event did."""
    order = Order.objects.create()
    row = failed(subject=order)
    edited(row, {"coupon": "ADA"}, **WORD)
    carry_out(row)

    rehearsal = forget(order, by="anna", why="request", dry_run=True)
    forgotten = forget(order, by="anna", why="request")

    edit = PayloadEdit.objects.get()
    assert rehearsal.edits == forgotten.edits == 1
    assert (edit.payload, edit.version) == (MARK, 0)
    assert "typing" not in edit.why
    assert forget(order, by="anna", why="request").edits == 0


def test_an_edit_that_still_has_to_run_is_not_forgotten():
    """The erasure at a partner may be among it."""
    order = Order.objects.create()
    edited(fresh(subject=order), {"coupon": "ADA"})

    forgotten = forget(order, by="anna", why="request")

    assert (forgotten.edits, forgotten.left_in_all) == (0, 1)
    assert PayloadEdit.objects.get().payload == {"coupon": "ADA"}


def test_a_forgotten_edit_runs_no_more():
    """Nor does what it took the place of."""
    order = Order.objects.create()
    row = failed(subject=order)
    edited(row, {"coupon": "ADA"}, **WORD)
    remedy.cancel(remedy.of("default", [row.pk]), by="ada", why="no")
    forget(order, by="anna", why="request")

    remedy.redrive(remedy.of("default", [row.pk]), by="ada", why="oops")
    carry_out(row)

    assert row.reason == Reason.UNREADABLE
    assert not LedgerEntry.objects.exists()


# At once


def in_another_connection(work):
    """What *work* returns in a thread with a connection of its own."""
    found = []

    def run():
        try:
            found.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return found[0]


@pytest.mark.django_db(transaction=True)
def test_of_a_claim_and_an_edit_the_claim_may_win_and_the_edit_is_refused():
    """Its worker is running the payload from before."""
    row = fresh()
    shown = edits.stamp(row)

    claimed = claim_of(row)
    result = in_another_connection(
        lambda: edited(Delivery.objects.get(pk=row.pk), {"coupon": "NEW"}, shown=shown, **WORD)
    )

    assert result.left_alone == edits.CHANGED
    assert not PayloadEdit.objects.exists()
    assert Notes.EDIT not in claimed.notes


@pytest.mark.django_db(transaction=True)
def test_of_a_claim_and_an_edit_the_edit_may_win_and_its_payload_runs():
    """A worker that has seen the row before claims it after."""
    row = fresh()
    seen = look("default", [row.pk])
    with transaction.atomic():
        edited(row, {"coupon": "NEW"})
        if connection.features.has_select_for_update_skip_locked:  # SQLite would wait for us
            assert in_another_connection(lambda: claim(seen)) == []

    in_another_connection(lambda: deliver("default", [row.pk]))

    assert LedgerEntry.objects.get().what == "receipt NEW"


@pytest.mark.django_db(transaction=True)
def test_of_two_edits_at_once_one_is_written():
    """Two people, one page."""
    row = fresh()
    shown = edits.stamp(row)
    start, results = threading.Barrier(2, timeout=10), []

    def work(coupon):
        try:
            mine = Delivery.objects.get(pk=row.pk)
            start.wait()
            results.append(edited(mine, {"coupon": coupon}, shown=shown))
        finally:
            connections.close_all()

    people = [threading.Thread(target=work, args=(name,)) for name in ("ADA", "BOB")]
    for person in people:
        person.start()
    for person in people:
        person.join(20)

    assert sorted(bool(result.edit) for result in results) == [False, True]
    assert PayloadEdit.objects.count() == 1
