"""What may have happened is sent again only while the partner surely remembers; then it is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reliable_effects.clock import DbNow, moved
from reliable_effects.outbox import remedy, rescue
from reliable_effects.outbox.claim import claim, look
from reliable_effects.outbox.heartbeat import Turn
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import Notes, State, finding
from reliable_effects.outgoing import AnswerLost
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import DAY, act, calling, settled
from tests.outgoing.partner import answer, drop

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


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


def test_a_coroutine_of_verifys_is_no_yes(partner, make_effect):
    """It is something, and so is true; nobody has asked yet."""

    async def find():
        return False

    effect = make_effect(calling(partner(drop).url, window=None), verify=lambda *_: find())
    delivery = pending_delivery(effect)
    carry_out(delivery)
    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN


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


@pytest.mark.parametrize("told", [None, True, False])
@pytest.mark.parametrize("why", ["not needed", "expired"])
def test_what_is_left_in_doubt_does_not_end_in_silence(why, told, partner, make_effect):
    """Nobody needs it any more; the charge may stand all the same."""
    bank = partner(drop)
    needed = [True]
    effect = make_effect(
        calling(bank.url),
        still_needed=lambda _: needed[0],
        expires_after=HOUR,
        verify=lambda *_: told,
    )
    delivery = pending_delivery(effect)
    carry_out(delivery)

    needed[0] = why == "expired"
    with moved(2 * HOUR if why == "expired" else HOUR / 60):
        carry_out(delivery)
        assert delivery.state == State.UNCERTAIN
        for _ in range(2):
            carry_out(delivery)

    ends = {None: State.UNCERTAIN, True: State.SUCCEEDED, False: State.SKIPPED}
    assert delivery.state == ends[told]
    assert len(bank.arrivals) == 1


def test_what_is_not_needed_and_was_never_sent_is_skipped(partner, make_effect):
    bank = partner(answer(429))
    needed = [True]
    delivery = pending_delivery(make_effect(calling(bank.url), still_needed=lambda _: needed[0]))
    carry_out(delivery)
    needed[0] = False
    carry_out(delivery)

    assert delivery.state == State.SKIPPED


@pytest.mark.parametrize("end", ["attempts", "snoozes"])
def test_a_doubt_outlives_the_last_attempt_and_the_longest_snooze(end, partner, make_effect):
    """Also where the effect wraps our error in one of its own, as much code does."""
    bank = partner(drop if end == "attempts" else answer(503, Retry_After="60"))

    def charge(order, ctx):
        try:
            calling(bank.url)(order, ctx)
        except AnswerLost as error:
            raise RuntimeError("the bank") from error

    almost = {Notes.SNOOZED: 7 * 86400 - 10}
    delivery = pending_delivery(make_effect(charge, max_attempts=1), notes=almost)

    carry_out(delivery)

    assert delivery.state == State.UNCERTAIN


def test_a_rescue_does_not_bring_back_what_was_noted_before_it_began(make_effect, monkeypatch):
    """The worker goes on between the question and the lock; then it may have happened."""
    delivery = pending_delivery(make_effect(lambda *_: None), notes=finding())
    claim(look("default", [delivery.pk]))
    Delivery.objects.update(lease_expires_at=DbNow() - HOUR)
    move = rescue._mend

    def after_it_went_on(using, row, *, forgive):
        Delivery.objects.update(notes=None)
        return move(using, row, forgive=forgive)

    monkeypatch.setattr(rescue, "_mend", after_it_went_on)
    rescue.rescue("default", Turn(None))

    assert act(remedy.start_anew, delivery) == []
