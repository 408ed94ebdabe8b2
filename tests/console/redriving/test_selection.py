"""What was chosen means the same on the page and in the sweep, and never more than was said."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_effects.console.redriving.selection import BadSelection, Selection
from reliable_effects.outbox.states import State
from tests.outbox.conftest import (
    cancelled_delivery,
    pending_delivery,
    poisoned_delivery,
    skipped_delivery,
    succeeded_delivery,
    uncertain_delivery,
)

GROUP = "0123456789abcdef" * 2


def of(**filters: str) -> Selection:
    return Selection.of_query({name: [value] for name, value in filters.items()})


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"state": ["poisoned"], "color": ["red"]}, "color"),
        ({"state": ["bogus"]}, "bogus"),
        ({"state": ["poisoned"], "reason": ["WHY"]}, "WHY"),
        ({"state": ["poisoned"], "effect": ["shop.nothing"]}, "shop.nothing"),
        ({"state": ["poisoned"], "group": ["' OR 1=1"]}, "group"),
        ({"state": ["poisoned"], "due": ["soon"]}, "soon"),
        ({"state": ["poisoned", "uncertain"]}, "several"),
        ({"state": ["poisoned"], "q": ["a\x00b"]}, "q"),
        ({"state": ["poisoned"], "q": ["x" * 301]}, "q"),
        ({"state": ["waiting"]}, "None of these"),
        ({"state": ["poisoned"], "reason": ["NOT_NEEDED"]}, "None of these"),
        ({"effect": ["shop.wrap"]}, "state"),
        ({"q": ["42"]}, "state"),
        ({}, "state"),
    ],
)
def test_what_is_not_understood_is_refused_and_named(query, names):
    """To leave out a filter that is misspelt is to redrive everything."""
    with pytest.raises(BadSelection, match=names):
        Selection.of_query(query)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        "all",
        {"ids": []},
        {"ids": ["1"]},
        {"ids": [True]},
        {"ids": [2**63]},
        {"ids": [1], "filters": {}},
        {"ids": [1], "more": 1},
        {"filters": {}},
        {"filters": {"state": ["poisoned"]}},
        {"filters": {"state": "poisoned"}, "ids": [1]},
        {"filters": {"state": "bogus"}},
        {"ids": list(range(1, 10_002))},
    ],
)
def test_json_of_another_kind_is_refused(stored):
    """It came by way of a browser."""
    with pytest.raises(BadSelection):
        Selection.from_json(stored)


@given(
    st.dictionaries(
        st.sampled_from(["state", "reason", "group", "due", "queue", "effect", "q", "p", "x"]),
        st.text(string.printable, max_size=30)
        | st.sampled_from(["poisoned", "uncertain", "skipped", "now", "UNREADABLE", "shop.wrap"]),
    )
)
def test_what_is_accepted_comes_back_from_json_as_it_was(filters):
    """The sweep reads what the page has written."""
    try:
        selection = of(**filters)
    except BadSelection:
        return

    assert Selection.from_json(json.loads(json.dumps(selection.to_json()))) == selection
    assert selection.states
    assert selection.in_words()


def test_pages_and_orders_of_the_list_are_no_filters():
    """They are in its address all the same."""
    assert of(state="poisoned", p="3", o="-1", all="") == of(state="poisoned")


@pytest.mark.django_db
def test_each_filter_means_what_the_list_shows():
    """One meaning for the page and the sweep."""
    pill = poisoned_delivery("shop.wrap", queue="slow", fingerprint=GROUP)
    refused = poisoned_delivery("shop.send_receipt", reason="REFUSED")
    waits_for_verify = uncertain_delivery()
    needs_a_person = uncertain_delivery(look_at=None)
    skipped = skipped_delivery()
    for row in (cancelled_delivery(), succeeded_delivery(), pending_delivery()):
        assert row.state != State.POISONED

    for chosen, expected in {
        of(state="poisoned"): {pill, refused},
        of(state="needs a person"): {pill, refused, needs_a_person},
        of(state="uncertain"): {waits_for_verify, needs_a_person},
        of(reason="REFUSED"): {refused},
        of(reason="NOT_NEEDED"): {skipped},
        of(state="poisoned", effect="shop.wrap"): {pill},
        of(state="poisoned", queue="slow"): {pill},
        of(group=GROUP): {pill},
        of(due="now"): {waits_for_verify},
        of(state="poisoned", q=str(refused.key)): {refused},
        of(state="poisoned", q=f"shop.Order:{pill.event.subject_pk}"): {pill},
    }.items():
        assert set(chosen.rows("default")) == expected, chosen


@pytest.mark.django_db
def test_ids_choose_what_a_redrive_would_change():
    """What runs or succeeded is not even written down."""
    pill, done = poisoned_delivery(), succeeded_delivery()

    chosen = Selection.of_ids([done.pk, pill.pk, pill.pk])

    assert list(chosen.rows("default")) == [pill]
    assert chosen.in_words() == "2 chosen deliveries"
