"""The checker finds each kind of wrong in a history, and nothing in a sound one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos.checker import Kind, judge
from tests.chaos.history import Blow, Call, History, Message, Order
from tests.chaos.journal import Line, Told

PARTNERS = ("payment", "mail", "warehouse", "crm", "analytics", "search", "carrier", "labels")
OURS = frozenset(PARTNERS) - {"payment"}


def line(**fields) -> Line:
    boring = {
        "way": "form", "name": "A-1", "customer": "ada@example.com", "told": Told.PLACED,
        "asked_at": 1.0, "told_at": 2.0,
    }  # fmt: skip
    return Line(**boring | fields)


def order(**fields) -> Order:
    boring = {
        "reference": "A-1", "email": "ada@example.com", "charge_id": "payment-A-1",
        "written_down": OURS, "has_shipment": True, "loyalty_entries": 1, "captures": 1,
        "parcel": "delivered",
    }  # fmt: skip
    return Order(**boring | fields)


def call(partner: str, **fields) -> Call:
    boring = {
        "partner": partner, "key": f"key-{partner}", "reference": "A-1", "applied": True,
        "status": 200, "answer_id": f"{partner}-A-1", "at": 3.0,
    }  # fmt: skip
    return Call(**boring | fields)


TOLD = (
    Message(order="A-1", kind="payment.captured"),
    Message(order="A-1", kind="parcel.moved", version=1, status="collected"),
    Message(order="A-1", kind="parcel.moved", version=2, status="delivered"),
)


@pytest.fixture
def sound() -> History:
    return History(
        lines=[line()], orders=[order()], calls=[call(p) for p in PARTNERS], messages=TOLD
    )


def test_a_sound_history_is_sound(sound):
    judgement = judge(sound)

    assert judgement.is_sound, judgement.findings
    assert judgement.promised == judgement.done + 1  # it is no gift
    assert judgement.acknowledged == 1


def _by_api(name: str, answer: str, told: Told = Told.PLACED) -> Line:
    return line(way="api", name=name, customer="api@example.com", told=told, answers=(answer,))


WRONGS: dict[str, tuple[Kind, Callable[[History], History]]] = {
    "no order of an acknowledgement": (
        Kind.LOST, lambda h: replace(h, lines=[*h.lines, line(name="A-2")]),
    ),
    "a partner that was never reached": (
        Kind.LOST, lambda h: replace(h, calls=[c for c in h.calls if c.partner != "crm"]),
    ),
    "a result that was not written down": (
        Kind.LOST, lambda h: replace(h, orders=[order(written_down=OURS - {"mail"})]),
    ),
    "a charge that was not written down": (
        Kind.LOST, lambda h: replace(h, orders=[order(charge_id=None)]),
    ),
    "no points": (Kind.LOST, lambda h: replace(h, orders=[order(loyalty_entries=0)])),
    "no shipment": (Kind.LOST, lambda h: replace(h, orders=[order(has_shipment=False)])),
    "a capture that is not in the books": (
        Kind.LOST, lambda h: replace(h, orders=[order(captures=0)]),
    ),
    "fewer API orders than acknowledged": (
        Kind.LOST, lambda h: replace(h, lines=[*h.lines, _by_api("k1", "a")]),
    ),
    "a call for no order": (
        Kind.PHANTOM, lambda h: replace(h, calls=[*h.calls, call("mail", reference="A-9")]),
    ),
    "a call that nothing asked for": (
        Kind.PHANTOM, lambda h: replace(h, calls=[*h.calls, call("giftwrap")]),
    ),
    "declined, and there": (
        Kind.PHANTOM, lambda h: replace(h, lines=[line(told=Told.DECLINED)]),
    ),
    "applied under two keys": (
        Kind.DOUBLED, lambda h: replace(h, calls=[*h.calls, call("mail", key="another")]),
    ),
    "points twice": (Kind.DOUBLED, lambda h: replace(h, orders=[order(loyalty_entries=2)])),
    "captured twice": (Kind.DOUBLED, lambda h: replace(h, orders=[order(captures=2)])),
    "asked under two keys": (
        Kind.REKEYED,
        lambda h: replace(h, calls=[call("mail", key="x", applied=False, status=500), *h.calls]),
    ),
    "sent again after a good answer, and nothing was struck": (
        Kind.EXTRA, lambda h: replace(h, calls=[*h.calls, call("mail", applied=False)]),
    ),
    "two answers to one key": (
        Kind.REPLAYED_WRONGLY,
        lambda h: replace(
            h,
            lines=[*h.lines, replace(_by_api("k1", "a"), answers=("a", "b"))],
            orders=[*h.orders],
        ),
    ),
    "one answer to two keys": (
        Kind.REPLAYED_WRONGLY,
        lambda h: replace(h, lines=[*h.lines, _by_api("k1", "a"), _by_api("k2", "a")]),
    ),
    "more API orders than asked for": (
        Kind.PLACED_TWICE,
        lambda h: replace(
            h,
            lines=[line(), _by_api("k1", "a", Told.DECLINED)],
            orders=[*h.orders, order(reference="A-2", email="api@example.com")],
        ),
    ),
    "an older message that won": (
        Kind.OUT_OF_ORDER, lambda h: replace(h, orders=[order(parcel="collected")]),
    ),
    "a partner that gave one key two answers": (
        Kind.ANSWERS_DIFFER,
        lambda h: replace(h, calls=[*h.calls, call("mail", applied=False, answer_id="mail-9")]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONGS)
def test_the_checker_finds(sound, wrong):
    kind, spoil = WRONGS[wrong]

    assert judge(spoil(sound)).findings[kind]


def test_each_kind_is_found_somewhere():
    assert {kind for kind, _ in WRONGS.values()} == set(Kind)


def test_an_extra_run_is_allowed_for_each_run_that_was_cut(sound):
    blow = Blow(name="kill_child", began_at=2.5, ended_at=2.6, struck=1)
    again = replace(sound, calls=[*sound.calls, call("mail", applied=False)], blows=[blow])

    assert not judge(again).findings[Kind.EXTRA]
    assert judge(again).extra_per_strike == 1


def test_an_order_without_an_answer_may_be_there_or_not(sound):
    """Its customer does not know, so neither is wrong."""
    unknown = line(name="A-7", told=Told.UNKNOWN)

    assert judge(replace(sound, lines=[*sound.lines, unknown])).is_sound
    assert judge(replace(sound, lines=[line(told=Told.UNKNOWN)])).is_sound


def test_what_is_only_late_may_still_come(sound):
    """A run waits for that, and for nothing that no waiting mends."""
    late = judge(replace(sound, calls=[c for c in sound.calls if c.partner != "crm"]))
    doubled = judge(replace(sound, orders=[order(loyalty_entries=2)]))

    assert (late.is_sound, late.is_beyond_help) == (False, False)
    assert (doubled.is_sound, doubled.is_beyond_help) == (False, True)


def test_recovery_counts_from_the_end_of_a_fault(sound):
    """Only for what was acknowledged before that end."""
    late = [replace(c, at=14.0) if c.partner == "crm" else c for c in sound.calls]
    blow = Blow(name="kill_broker", began_at=5.0, ended_at=10.0)
    judgement = judge(replace(sound, calls=late, blows=[blow]))

    assert [r.seconds for r in judgement.recoveries] == [4.0]
    later = replace(sound, lines=[line(told_at=11.0)], calls=late, blows=[blow])
    assert [r.seconds for r in judge(later).recoveries] == [0.0]
