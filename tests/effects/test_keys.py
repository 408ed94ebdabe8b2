"""Identities that partners have seen: what is written out here may never change."""

from __future__ import annotations

from uuid import NAMESPACE_URL, UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reliable_effects.effects import keys

EVENT = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
ABOUT = {"event": "shop.order_charged", "subject": "shop.order:7", "once": ""}


@pytest.mark.parametrize(
    ("derived", "golden"),
    [
        (
            keys.once_event_id("shop.order_placed", "shop.order:7", "first"),
            "03b5ec8f-feb3-5cd1-9da5-50c252034667",
        ),
        (
            keys.child_event_id(EVENT, generation=0, round_=1, **ABOUT),
            "cc669dc9-ced3-57d5-8ebd-0b87c2c7c06d",
        ),
        (keys.delivery_key(EVENT, "shop.charge_card"), "e5163709-ae1c-558f-a1cf-df3ce2ba44e3"),
        (
            keys.debt_key("shop.charge_card", "shop.order", "7", "once"),
            "62532363-dd2a-5f9f-9464-610a04cd7fe0",
        ),
        (keys.outgoing_key(EVENT, 0), str(EVENT)),
        (keys.outgoing_key(EVENT, 2), "5ce1055b-05fb-5402-9776-e646db819325"),
        (keys.derive(EVENT, "call", "refund"), "75a0331b-818d-5a60-a478-622e9bd438c2"),
    ],
)
def test_a_key_is_the_same_in_every_release(derived, golden):
    """A partner that was asked under this key before an upgrade is asked under it after."""
    assert str(derived) == golden


def test_our_namespace_is_derived_from_our_name():
    """So that whoever has lost this code can compute the keys of debts again."""
    assert uuid5(NAMESPACE_URL, "django-reliable-effects") == keys.NAMESPACE


def test_a_delivery_key_is_uuid5_of_event_and_effect():
    """Plain enough for another program, or a person, to derive it."""
    assert keys.delivery_key(EVENT, "shop.charge_card") == uuid5(EVENT, "shop.charge_card")


@settings(deadline=None)
@given(
    st.lists(st.text(st.sampled_from("a\x1f\\u")), min_size=1, max_size=3),
    st.lists(st.text(st.sampled_from("a\x1f\\u")), min_size=1, max_size=3),
)
def test_different_parts_never_give_one_key(some, others):
    """A debt's name comes from users; two debts under one key would be one delivery."""
    assert (keys.derive(EVENT, *some) == keys.derive(EVENT, *others)) == (some == others)


def test_each_round_and_generation_emits_events_of_its_own():
    """A snooze, a redrive and a start anew mean it again; a retry does not."""
    ids = {
        keys.child_event_id(EVENT, generation=generation, round_=round_, **ABOUT)
        for generation in range(3)
        for round_ in range(3)
    }

    assert len(ids) == 9


def test_event_ids_are_version_7_and_grow_with_time():
    """New rows lie together at the end of the index."""
    ids = [keys.new_event_id() for _ in range(50)]

    assert {(i.version, i.variant) for i in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == 50
    assert [i.int >> 80 for i in ids] == sorted(i.int >> 80 for i in ids)
