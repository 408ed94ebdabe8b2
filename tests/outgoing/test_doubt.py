"""What may have happened is sent again only while the partner surely remembers; then it is asked."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reliable_effects.clock import moved
from reliable_effects.outbox import remedy
from reliable_effects.outbox.states import State
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
