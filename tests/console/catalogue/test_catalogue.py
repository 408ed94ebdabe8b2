"""The page of effects: what is declared, how it stands, and nothing that grows with the tables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from reliable_effects import Backoff
from reliable_effects.clock import DbNow, read_clock
from reliable_effects.console.catalogue import policy, standing
from reliable_effects.controls.models import EffectControl
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.pausing import pause
from tests.outbox.conftest import pending_delivery, poisoned_delivery, succeeded_delivery

from .conftest import LIST, page_of

pytestmark = pytest.mark.django_db


def shown(client, address, **query) -> str:
    response = client.get(address, query)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def held_back(effect: str, **columns):
    """As a worker that has met the pause leaves it."""
    return pending_delivery(effect, look_at=DbNow() + timedelta(minutes=90), hints=0, **columns)


def test_every_declared_effect_is_listed_with_its_event_and_policy(viewer):
    """Who is new here sees on one page what follows from what."""
    text = shown(viewer, LIST)

    for effect in registry.effects():
        assert f">{effect.name}</a>" in text
        if effect.on is not None:
            assert effect.on.name in text
    assert "harmless to repeat" in text
    assert "owed" in text


def test_by_event_it_says_who_listens_and_to_what_nobody_does(viewer):
    """The other question: what happens if I emit this?"""
    text = shown(viewer, LIST, by="event")

    order = (
        "shop.order_charged <",
        ">shop.thank</a>",
        "shop.order_placed <",
        ">shop.charge_card</a>",
    )
    places = [text.index(name) for name in order]
    assert places == sorted(places)
    seen = text[text.index("shop.order_seen <") :]
    assert 0 < seen.index("nothing listens to it") < 100


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("CHARGE_card", {"shop.charge_card"}),
        ("order_charged", {"shop.thank"}),
        ("shop.old_name", {"test.renamed"}),
        ("nothing like it", set()),
    ],
)
def test_it_is_searched_by_the_names_of_effects_and_events(viewer, make_effect, term, found):
    """At a hundred effects nobody reads the whole table."""
    make_effect(name="test.renamed", aliases=["shop.old_name"])

    text = shown(viewer, LIST, q=term)

    listed = {effect.name for effect in registry.effects() if f">{effect.name}</a>" in text}
    assert listed == found


def test_a_pause_is_said_with_who_why_until_when_and_how_many_wait(viewer):
    """Whoever finds it paused at night knows whom to ask."""
    until = read_clock("default") + timedelta(hours=3)
    pause("shop.wrap", by="ada", why="wrong <b>paper</b>", until=until)
    held_back("shop.wrap")
    held_back("shop.wrap")
    held_back("shop.thank")
    pending_delivery("shop.wrap", due_at=DbNow() + timedelta(hours=1))

    listed, page = shown(viewer, LIST, q="wrap"), shown(viewer, page_of("shop.wrap"))

    assert "2 waiting" in listed
    assert ">paused</span>" in listed
    for told in ("ada", "wrong &lt;b&gt;paper&lt;/b&gt;", "in 2 h"):
        assert told in page
        assert told in listed
    assert '<td class="re-count">2</td>' in page


def test_a_pause_that_is_over_is_none(viewer):
    """It ends by the database's clock, and nobody cleans up after it."""
    EffectControl.objects.create(
        effect="shop.wrap",
        paused_at=DbNow() - timedelta(hours=2),
        paused_until=DbNow() - timedelta(hours=1),
    )

    assert ">paused" not in shown(viewer, LIST)


def test_what_is_paused_and_unknown_to_this_release_stands_in_front(viewer):
    """Its deliveries wait for a release that may be rolled out again."""
    EffectControl.objects.create(effect="gone.effect", paused_at=DbNow(), by="ada", why="?")

    text = shown(viewer, LIST)

    assert text.index("gone.effect") < text.index(">shop.charge_card</a>")
    assert "This release does not know" in shown(viewer, page_of("gone.effect"))


def test_failures_of_the_last_window_are_told(viewer):
    """From the ends of two indexes, aliases added up."""
    row = poisoned_delivery("shop.wrap")
    row.attempt_rows.create(number=1, outcome="failed", ended_at=DbNow(), started_at=DbNow())
    succeeded_delivery("shop.wrap")
    succeeded_delivery("shop.wrap", finished_at=DbNow() - timedelta(days=2))

    assert "1 of 2" in shown(viewer, LIST, q="wrap")
    assert "1 of 2" in shown(viewer, page_of("shop.wrap"))


def test_an_alias_leads_to_the_effect(viewer, make_effect):
    """An old bookmark, and rows of an earlier release."""
    make_effect(name="test.renamed", aliases=["shop.old_name"])

    assert "<h1>test.renamed</h1>" in shown(viewer, page_of("shop.old_name"))


def test_a_name_that_was_never_heard_of_is_not_found(viewer):
    """And is no page that one could pause something on."""
    assert viewer.get(page_of("shop.nothing")).status_code == 404


def test_an_entry_of_the_log_leads_to_its_effect(viewer):
    """The admin makes that address of the entry's object id."""
    row = EffectControl.objects.create(effect="gone.effect")

    for object_id, name in (("shop.wrap", "shop.wrap"), (row.pk, "gone.effect")):
        for page in ("change", "history"):
            response = viewer.get(f"{LIST}{object_id}/{page}/")
            assert response["Location"] == page_of(name)


def test_the_page_leads_to_the_deliveries_of_the_effect(log_in):
    """Filtered by it, and by state."""
    client = log_in("view_effectcontrol", "view_delivery")
    wanted = poisoned_delivery("shop.wrap")
    poisoned_delivery("shop.thank")

    text = shown(client, page_of("shop.wrap"))

    address = "/admin/reliable_effects/delivery/?effect=shop.wrap&amp;state=needs+a+person"
    assert address in text
    listed = shown(client, address.replace("&amp;", "&"))
    assert f"/delivery/{wanted.pk}/change/" in listed
    assert "1 delivery" in listed


@pytest.mark.parametrize("count", [3, 100])
def test_the_number_of_queries_does_not_grow_with_effects_or_pauses(viewer, make_effect, count):
    """A page that asks once for each effect is slow where it matters."""
    names = [make_effect(name=f"test.many_{i}").name for i in range(count)]
    EffectControl.objects.bulk_create(
        EffectControl(effect=name, paused_at=DbNow(), by="ada", why="all of them") for name in names
    )

    with CaptureQueriesContext(connection) as queries:
        shown(viewer, LIST)

    ours = [q["sql"] for q in queries if "reliable_effects_" in q["sql"]]
    assert len(ours) == 4  # pauses, what waits, attempts, ends
    assert all("LIMIT" in sql and "COUNT(" not in sql for sql in ours)


def test_what_waits_is_read_so_far_and_no_further(monkeypatch):
    """A million of them would take seconds."""
    monkeypatch.setattr(standing, "_LOOKED_AT", 2)
    pause("shop.wrap", by="ada", why="?")
    for _ in range(3):
        held_back("shop.wrap")

    [found] = standing.everywhere()

    assert (found.waiting["shop.wrap"], found.cut_short) == (2, {"shop.wrap"})


@pytest.mark.parametrize(
    ("span", "told"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=90), "1 min 30 s"),
        (timedelta(milliseconds=1500), "1.5 s"),
        (timedelta(days=1, hours=2), "1 d 2 h"),
    ],
)
def test_a_policy_tells_spans_exactly(span, told):
    """Rounded down, a minute and a half would be a minute."""
    assert policy.span(span) == told


@pytest.mark.parametrize(
    ("first", "longest", "told"),
    [
        (0, 0, "no rest"),
        (5, 5, "a random rest of up to 5 s"),
        (
            10,
            3600,
            "up to 10 s after the first failure, twice that after each further one, up to 1 h",
        ),
    ],
)
def test_a_backoff_is_told_in_words(first, longest, told):
    """Nobody outside of us knows what full jitter is."""
    rests = Backoff(first=timedelta(seconds=first), longest=timedelta(seconds=longest))

    assert told in policy.backoff(rests)
