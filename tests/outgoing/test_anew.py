"""Anew is under another key, so only what surely did not happen is started so."""

from __future__ import annotations

import pytest

from reliable_effects.effects.keys import outgoing_key
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.outbox.conftest import carry_out, pending_delivery
from tests.outgoing.conftest import act, calling, settled
from tests.outgoing.partner import answer, drop

pytestmark = pytest.mark.django_db


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
