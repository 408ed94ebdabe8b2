"""Quick and slow: who runs here in order, and who goes on as a hint of its own."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.outbox.deliver import deliver
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.pace import QUICK, pace
from reliable_effects.outbox.states import State
from reliable_effects.signals import delivery_succeeded
from tests.outbox.conftest import listening, pending_delivery, uncertain_delivery
from tests.shop.models import LedgerEntry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def quick(make_effect):
    def make(*arguments, **options):
        effect = make_effect(*arguments, **options)
        pace.note(effect.name, QUICK / 10)
        return effect

    return make


@pytest.fixture
def slow(make_effect):
    def make(*arguments, **options):
        effect = make_effect(*arguments, **options)
        pace.note(effect.name, QUICK * 10)
        return effect

    return make


def _done() -> list[int]:
    rows = LedgerEntry.objects.order_by("pk").values_list("what", flat=True)
    return [int(what) for what in rows]


@pytest.mark.usefixtures("unhurried")
def test_quick_ones_run_in_order(quick, handed_on):
    """A message of its own would cost more than it saves."""
    effects = [quick(), quick()]
    ids = [pending_delivery(effects[n % 2]).pk for n in range(6)]

    begun = deliver("default", ids, hand_on=handed_on)

    assert _done() == ids
    assert begun == 6
    assert handed_on == []


@pytest.mark.usefixtures("unhurried")
def test_slow_ones_go_on_one_by_one(slow, quick, handed_on):
    """Ten HTTP calls must not stand in one line; one of them is called here, last."""
    calls = slow()
    ids = [pending_delivery(calls).pk for _ in range(3)]
    first = pending_delivery(quick()).pk

    deliver("default", [*ids, first], hand_on=handed_on)

    assert _done() == [first, ids[0]]
    assert handed_on.ids == [[ids[1]], [ids[2]]]


@pytest.mark.usefixtures("unhurried")
def test_unmeasured_effects_go_on_one_hint_each_but_one(make_effect, handed_on):
    """The first of a name will tell what the others of its name are."""
    effects = [make_effect() for _ in range(3)]
    rows = [[pending_delivery(one).pk for _ in range(2)] for one in effects]

    deliver("default", [pk for ids in zip(*rows, strict=True) for pk in ids], hand_on=handed_on)

    assert _done() == rows[0]
    assert handed_on.ids == rows[1:]


def test_handed_on_hints_go_to_the_queue_of_their_effect(slow, handed_on):
    """A hint may hold rows of several queues; workers listen to their own."""
    here, payments = slow(), slow(queue="payments")
    one, other = pending_delivery(here), pending_delivery(payments)

    deliver("default", [one.pk, other.pk], hand_on=handed_on)

    assert handed_on == [("payments", [other.pk])]


def test_after_its_time_a_hint_hands_on_the_rest(quick, handed_on):
    """A hint is no thread of work for a minute: others wait behind it."""
    effect = quick(lambda *_: time.sleep(0.04))
    ids = [pending_delivery(effect).pk for _ in range(8)]

    begun = deliver("default", ids, hand_on=handed_on)

    assert 1 <= begun < 8
    assert handed_on.ids == [ids[begun:]]
    assert Delivery.objects.filter(state=State.SUCCEEDED).count() == begun
    assert not Delivery.objects.filter(pk__in=ids[begun:], attempts__gt=0).exists()


def test_a_hint_with_one_id_is_never_split(slow, handed_on):
    """It would be handed on for ever."""
    row = pending_delivery(slow())

    deliver("default", [row.pk], hand_on=handed_on)

    assert _done() == [row.pk]
    assert handed_on == []


def test_what_could_not_be_handed_on_is_due_for_the_relay_now(slow, handed_on):
    """No broker: whoever sweeps next takes it, without a grace."""
    handed_on.accepts = False
    effect = slow()
    ids = [
        pending_delivery(effect, look_at=DbNow() + timedelta(minutes=5), hints=1).pk
        for _ in range(3)
    ]

    deliver("default", ids, hand_on=handed_on)

    assert len(handed_on) == 2
    waiting = Delivery.objects.filter(pk__in=ids[1:], state=State.PENDING)
    assert waiting.filter(look_at__lte=read_clock("default")).count() == 2


def test_what_was_handed_on_keeps_its_grace(slow, handed_on):
    """It was hinted: the relay need not do it again at once."""
    effect = slow()
    rows = [
        pending_delivery(effect, look_at=DbNow() + timedelta(minutes=5), hints=1) for _ in range(2)
    ]

    deliver("default", [row.pk for row in rows], hand_on=handed_on)

    assert Delivery.objects.get(pk=rows[1].pk).look_at == rows[1].look_at


def test_a_run_teaches_the_pace_of_its_effect(make_effect):
    """Measured, not declared."""
    quick, slow = make_effect(), make_effect(lambda *_: time.sleep(QUICK * 1.5))

    for effect in (quick, slow):
        deliver("default", [pending_delivery(effect).pk])

    assert pace.is_quick(quick.name)
    assert pace.is_quick(slow.name) is False


def test_a_partner_that_grows_slow_is_noticed(make_effect):
    """The mean follows the last runs."""
    name = make_effect().name
    for _ in range(50):
        pace.note(name, QUICK / 20)
    assert pace.is_quick(name)

    for _ in range(10):
        pace.note(name, QUICK * 5)

    assert pace.is_quick(name) is False


def test_an_effect_that_fails_slowly_is_slow(make_effect):
    """A partner that times out must not hold up a line of quick ones."""

    def fail(*_):
        time.sleep(QUICK * 1.5)
        raise ValueError("no answer")

    effect = make_effect(fail)

    for _ in range(3):
        deliver("default", [pending_delivery(effect).pk])

    assert pace.is_quick(effect.name) is False


def test_a_question_of_verify_is_not_a_measure_of_the_effect(make_effect):
    """Asking is another call than doing."""
    effect = make_effect(verify=lambda *_: True)

    deliver("default", [uncertain_delivery(effect).pk])

    assert pace.is_quick(effect.name) is None


def test_a_question_goes_on_by_itself(quick, handed_on):
    """How long verify takes nobody knows, and quick ones must not stand behind it."""
    effect = quick(verify=lambda *_: True)
    first, asked = pending_delivery(effect).pk, uncertain_delivery(effect).pk
    other = uncertain_delivery(effect).pk

    deliver("default", [asked, other, first], hand_on=handed_on)

    assert _done() == [first]
    assert len(handed_on) == 1


@pytest.mark.usefixtures("unhurried")
def test_a_success_is_told_before_the_next_begins(quick):
    """A receiver may rely on it: what was told was committed, and nothing else has happened."""
    order = []
    effect = quick(lambda _, ctx: order.append(("ran", ctx.delivery_id)))
    ids = [pending_delivery(effect).pk for _ in range(3)]

    def receive(delivery_id, **_):
        running = Delivery.objects.filter(state=State.RUNNING).count()
        order.append(("told", delivery_id, running))

    delivery_succeeded.connect(receive)
    try:
        deliver("default", ids)
    finally:
        delivery_succeeded.disconnect(receive)

    assert order == [fact for pk in ids for fact in (("ran", pk), ("told", pk, 0))]


@pytest.mark.usefixtures("unhurried")
def test_a_success_is_told_once_whoever_listens(quick):
    ids = [pending_delivery(quick()).pk for _ in range(3)]

    with listening(delivery_succeeded) as told:
        deliver("default", ids)

    assert [t["delivery_id"] for t in told] == ids
