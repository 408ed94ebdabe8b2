"""What may have happened is sent again only while the partner surely remembers; then it is asked."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from reliable_effects import ONCE
from reliable_effects.clock import DbNow, moved
from reliable_effects.effects.keys import call_key, outgoing_key
from reliable_effects.outbox import remedy
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.forget import forget
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.prune import prune
from reliable_effects.outbox.rescue import rescue
from reliable_effects.outbox.states import State
from reliable_effects.outgoing import windows
from reliable_effects.outgoing.models import Known, OutgoingCall
from tests.outbox.conftest import carry_out, pending_delivery, succeeded_delivery
from tests.outgoing.conftest import DAY, calling
from tests.outgoing.partner import answer, drop, hang
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = pytest.mark.django_db

ALMOST_A_DAY = DAY - timedelta(hours=3)  # a tenth of the window is left alone
HOUR = timedelta(hours=1)


def act(verb, delivery, **options):
    rows = remedy.of("default", [delivery.pk])
    changed = verb(rows, by="ada", why="asked the bank", **options)
    delivery.refresh_from_db()
    return changed


def settled(delivery, *, happened):
    return act(remedy.settle, delivery, happened=happened)


@pytest.mark.parametrize(("later", "sent"), [(timedelta(hours=21), 2), (timedelta(hours=22), 1)])
def test_it_is_sent_again_until_a_tenth_of_the_window_is_left(later, sent, partner, make_effect):
    bank = partner(drop, answer())
    delivery = pending_delivery(make_effect(calling(bank.url)))

    carry_out(delivery)
    with moved(later):
        carry_out(delivery)

    assert len(bank.arrivals) == sent
    assert (delivery.state == State.SUCCEEDED) == (sent == 2)
    assert (delivery.state == State.UNCERTAIN) == (sent == 1)


def test_the_window_begins_with_the_first_send_that_may_have_arrived(partner, make_effect):
    """What was turned away is remembered by nobody."""
    bank = partner(answer(429), drop, answer())
    delivery = pending_delivery(make_effect(calling(bank.url)))

    carry_out(delivery)
    with moved(timedelta(days=3)):
        carry_out(delivery)
        with moved(HOUR):
            carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(bank.arrivals) == 3


@pytest.mark.parametrize("window", [None, DAY])
@pytest.mark.parametrize("happened", [True, False, None])
def test_after_it_verify_is_asked_and_decides(happened, window, partner, make_effect):
    bank = partner(drop, answer())
    effect = make_effect(calling(bank.url, window=window), verify=lambda *_: happened)
    delivery = pending_delivery(effect)

    carry_out(delivery)
    with moved(2 * DAY):
        carry_out(delivery)
        if window:  # too late: it was not sent, and is asked after
            assert delivery.state == State.UNCERTAIN
            carry_out(delivery)
        assert len(bank.arrivals) == 1
        if happened is False:
            carry_out(delivery)

    told = {True: State.SUCCEEDED, False: State.SUCCEEDED, None: State.UNCERTAIN}
    assert delivery.state == told[happened]
    assert bank.keys == [delivery.idempotency_key] * (2 if happened is False else 1)


def test_without_verify_a_person_decides_and_a_redrive_sends_nothing(partner, make_effect):
    """A redrive says "run it again", and not that it did not happen."""
    bank = partner(drop, answer())
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))

    carry_out(delivery)
    assert (delivery.state, delivery.look_at) == (State.UNCERTAIN, None)
    act(remedy.redrive, delivery)
    carry_out(delivery)

    assert (delivery.state, delivery.look_at) == (State.UNCERTAIN, None)
    assert len(bank.arrivals) == 1


def test_a_person_settles_it_as_happened(partner, make_effect):
    bank = partner(drop)
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))
    carry_out(delivery)

    settled(delivery, happened=True)

    assert delivery.state == State.SUCCEEDED
    carry_out(delivery)
    assert len(bank.arrivals) == 1


def test_a_person_settles_it_as_not_happened_and_it_is_sent_under_its_key(partner, make_effect):
    """Even where the attempt after it fails before it comes to sending."""
    bank = partner(drop, answer())
    fails = iter([False, True, False])

    charge = calling(bank.url, window=None)

    def charge_or_fail(order, ctx):
        if next(fails):
            raise ValueError
        charge(order, ctx)

    delivery = pending_delivery(make_effect(charge_or_fail))
    carry_out(delivery)

    settled(delivery, happened=False)
    assert (delivery.state, delivery.attempts) == (State.PENDING, 0)
    carry_out(delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert bank.keys == [delivery.idempotency_key] * 2


def test_what_was_found_says_nothing_of_what_is_sent_later(partner, make_effect):
    """Settled, sent again, unanswered again: a person is asked again."""
    bank = partner(drop)
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))
    carry_out(delivery)
    settled(delivery, happened=False)
    carry_out(delivery)
    assert delivery.state == State.UNCERTAIN

    act(remedy.redrive, delivery)
    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert len(bank.arrivals) == 2


def test_what_the_partner_said_is_done_is_not_sent_because_somebody_found_otherwise(
    partner, make_effect
):
    """A finding is about a lost answer; here there was one."""
    bank = partner(answer(202))
    first = iter([True])

    def charge(order, ctx):
        calling(bank.url, window=None)(order, ctx)
        if next(first, False):
            raise ValueError("after the answer")

    delivery = pending_delivery(make_effect(charge))
    carry_out(delivery)
    carry_out(delivery)
    settled(delivery, happened=False)
    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN
    assert len(bank.arrivals) == 1


# Anew


def test_anew_is_another_key(partner, make_effect):
    bank = partner(answer(402), answer())
    delivery = pending_delivery(make_effect(calling(bank.url)))
    carry_out(delivery)
    assert delivery.state == State.POISONED
    before = delivery.idempotency_key

    assert act(remedy.start_anew, delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert delivery.generation == 1
    assert bank.keys == [before, str(outgoing_key(delivery.key, 1))]
    assert len(set(bank.keys)) == 2


def test_what_may_have_happened_is_not_started_anew(partner, make_effect):
    """The new key would make it happen twice."""
    bank = partner(drop)
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))
    carry_out(delivery)

    assert act(remedy.start_anew, delivery) == []
    told = remedy.forecast(remedy.START_ANEW, remedy.of("default", [delivery.pk]))

    assert delivery.generation == 0
    assert ["it may have happened" in forecast.left_alone for forecast in told] == [True]


def test_what_an_earlier_generation_left_in_doubt_says_nothing_of_this_one(partner, make_effect):
    """Somebody gave their word for that one; this one was refused."""
    bank = partner(drop, answer(402), answer())
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))
    carry_out(delivery)
    act(remedy.start_anew, delivery, did_not_happen=True)
    carry_out(delivery)

    assert act(remedy.start_anew, delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(set(bank.keys)) == 3


@pytest.mark.parametrize("word", ["settled", "in the same breath"])
def test_with_a_persons_word_it_is(word, partner, make_effect):
    bank = partner(drop, answer())
    delivery = pending_delivery(make_effect(calling(bank.url, window=None)))
    carry_out(delivery)

    if word == "settled":
        settled(delivery, happened=False)
    assert act(remedy.start_anew, delivery, did_not_happen=word != "settled")
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(set(bank.keys)) == 2


def test_what_verify_found_absent_with_no_attempt_left_may_be_started_anew(partner, make_effect):
    bank = partner(drop, answer())
    effect = make_effect(calling(bank.url, window=None), verify=lambda *_: False, max_attempts=1)
    delivery = pending_delivery(effect)
    carry_out(delivery)
    carry_out(delivery)
    assert delivery.state == State.POISONED

    assert act(remedy.start_anew, delivery)
    carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


def test_what_ran_since_it_was_found_absent_is_not(make_effect):
    """A hand-written call leaves no row; what was found is over with the next run."""

    def fail(*_):
        raise ValueError

    effect = make_effect(fail, max_attempts=1)
    delivery = pending_delivery(effect)
    Delivery.objects.update(state=State.UNCERTAIN)
    settled(delivery, happened=False)
    carry_out(delivery)
    assert delivery.state == State.POISONED

    assert act(remedy.start_anew, delivery) == []


# Death and loss


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("window", [DAY, None])
def test_a_worker_killed_between_send_and_answer_leaves_the_truth(window, partner, make_effect):
    """At that line nobody can know; so the same key, or nobody sends."""
    bank = partner(hang, answer())
    effect = make_effect(calling(bank.url, window=window, timeout=timedelta(seconds=20)))
    delivery = pending_delivery(effect)
    connections.close_all()
    child = os.fork()
    if not child:
        deliver("default", [delivery.pk])
        os._exit(0)
    try:
        eventually(lambda: bank.arrivals)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

    assert OutgoingCall.objects.get().known == Known.UNKNOWN
    Delivery.objects.update(lease_expires_at=DbNow() - timedelta(seconds=1))
    rescue("default", Turn(since_last=timedelta(0)))
    carry_out(delivery)

    assert len(set(bank.keys)) == 1
    if window:
        assert (delivery.state, len(bank.arrivals)) == (State.SUCCEEDED, 2)
    else:
        assert (delivery.state, len(bank.arrivals)) == (State.UNCERTAIN, 1)


def owed_effect(make_effect, url, **options):
    effect = make_effect(
        calling(url, **options), name="test.charge", verify=options.pop("verify", None)
    )
    effect.owed(since="placed_at", grace=timedelta(minutes=15), debt=ONCE)(Order.objects.all)
    return effect


def an_order(ago):
    order = Order.objects.create()
    Order.objects.filter(pk=order.pk).update(placed_at=timezone.now() - ago)
    order.refresh_from_db()
    return order


def promised_anew(effect, order, *, source="reconcile"):
    with transaction.atomic():
        effect.promise(order)
    OutboxEvent.objects.update(source=source)
    return Delivery.objects.get()


def lose_everything():
    for model in (OutgoingCall, Attempt, Delivery, OutboxEvent):
        model.objects.all().delete()


@pytest.mark.parametrize("ago", [ALMOST_A_DAY, 2 * DAY])
@pytest.mark.parametrize("source", ["reconcile", "promise"])
def test_after_a_total_loss_the_window_counts_from_the_debt(source, ago, partner, make_effect):
    """When it was first sent nobody knows any more; not before it was owed."""
    bank = partner(drop, answer())
    effect = owed_effect(make_effect, bank.url)
    order = an_order(ago)
    first = promised_anew(effect, order)
    OutgoingCall.objects.create(
        key=first.key, delivery=first, send_token=1, known=Known.UNKNOWN,
        first_sent_at=DbNow(), last_sent_at=DbNow(),
    )  # fmt: skip
    lose_everything()

    delivery = promised_anew(effect, order, source=source)
    carry_out(delivery)
    carry_out(delivery)

    assert delivery.key == first.key
    if ago < DAY:
        assert bank.keys == [str(first.key)] * 2
    else:
        assert bank.arrivals == []
        assert delivery.state == State.UNCERTAIN
        assert "rows have been lost" in Attempt.objects.get().message


def test_what_was_promised_when_it_arose_is_sent_after_a_long_outage_all_the_same(
    partner, make_effect
):
    """Our rows have been there since then, and know that it was never sent."""
    bank = partner(answer())
    delivery = promised_anew(
        owed_effect(make_effect, bank.url), an_order(HOUR / 10), source="promise"
    )

    with moved(timedelta(days=3)):
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED


@pytest.mark.parametrize("found", ["verify", "person", "for ever"])
def test_what_is_owed_for_long_is_sent_when_somebody_has_looked(found, partner, make_effect):
    """Or where repeating is harmless for ever."""
    bank = partner(answer())
    options = {"window": windows.FOR_EVER} if found == "for ever" else {}
    effect = owed_effect(make_effect, bank.url, **options)
    if found == "verify":
        effect.verify = lambda *_: False
    delivery = promised_anew(effect, an_order(30 * DAY))

    carry_out(delivery)
    if found != "for ever":
        assert delivery.state == State.UNCERTAIN
        if found == "person":
            settled(delivery, happened=False)
        else:
            carry_out(delivery)
        carry_out(delivery)

    assert delivery.state == State.SUCCEEDED
    assert len(bank.arrivals) == 1


def test_keys_outlive_retries_redrives_and_for_debts_our_tables(partner, make_effect):
    bank = partner(answer(429), answer(429), answer(402), answer())
    effect = owed_effect(make_effect, bank.url, call="refund")
    order = an_order(HOUR)
    delivery = promised_anew(effect, order)
    for _ in range(3):
        carry_out(delivery)
    act(remedy.redrive, delivery)
    lose_everything()
    carry_out(promised_anew(effect, order))

    assert len(bank.arrivals) == 4
    assert set(bank.keys) == {str(call_key(delivery.key, "refund"))}


def test_rows_of_calls_go_with_their_delivery():
    kept, old = pending_delivery(), succeeded_delivery(finished_at=DbNow() - timedelta(days=30))
    for delivery in (kept, old):
        OutgoingCall.objects.create(
            key=delivery.key, delivery=delivery, send_token=1, known=Known.DONE,
            first_sent_at=DbNow(), last_sent_at=DbNow(),
        )  # fmt: skip

    prune("default")

    assert [call.delivery_id for call in OutgoingCall.objects.all()] == [kept.pk]


def test_who_is_forgotten_leaves_no_hash_and_no_number_of_the_partners():
    done = succeeded_delivery()
    OutgoingCall.objects.create(
        key=done.key, delivery=done, send_token=1, known=Known.DONE, request_hash="ab",
        request_id="req_1", first_sent_at=DbNow(), last_sent_at=DbNow(),
    )  # fmt: skip

    forgotten = forget(f"shop.Order:{done.event.subject_pk}", by="ada", why="asked to")

    assert forgotten.others["outgoing calls"].blanked == 1
    call = OutgoingCall.objects.get()
    assert (call.request_hash, call.request_id, call.known) == ("", "", Known.DONE)
