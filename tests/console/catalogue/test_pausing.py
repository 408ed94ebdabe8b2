"""Pause and resume on the page: a permission, a reason, a POST, an entry; and on which databases."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import override_settings
from django.utils import timezone

from reliable_effects.clock import DbNow, read_clock
from reliable_effects.console.catalogue import admin as catalogue_admin
from reliable_effects.controls.models import EffectControl
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.pausing import pause

from .conftest import page_of
from .test_catalogue import held_back, shown

pytestmark = pytest.mark.django_db

PAUSE, RESUME = page_of("shop.wrap", "pause"), page_of("shop.wrap", "resume")


def paused(using="default") -> list[str]:
    return sorted(EffectControl.objects.using(using).paused().values_list("effect", flat=True))


def test_a_pause_is_asked_for_and_then_done(pauser):
    """GET says what will be done and does nothing; the entry says who did it, and why."""
    assert "Nothing is lost" in shown(pauser, PAUSE)
    assert (paused(), LogEntry.objects.count()) == ([], 0)

    response = pauser.post(PAUSE, {"why": "wrong paper"}, follow=True)

    assert paused() == ["shop.wrap"]
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, entry.get_change_message()) == (
        "shop.wrap", "Paused, until a person resumes it: wrong paper",
    )  # fmt: skip
    control = EffectControl.objects.get()
    assert (control.by, control.why) == (entry.user.get_username(), "wrong paper")
    text = response.content.decode()
    assert "Paused shop.wrap, until a person resumes it." in text
    assert "until a person resumes it: wrong paper" in text


@override_settings(TIME_ZONE="Asia/Kolkata")
def test_until_is_read_off_the_wall_of_the_current_zone(pauser):
    """Whoever types half past two means their own."""
    until = (read_clock("default") + timedelta(hours=2)).replace(second=0, microsecond=0)
    typed = timezone.localtime(until).strftime("%Y-%m-%dT%H:%M")
    assert "By the clocks of Asia/Kolkata" in shown(pauser, PAUSE)

    pauser.post(PAUSE, {"why": "wrong paper", "until": typed})

    assert EffectControl.objects.get().paused_until == until


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "This field is required"),
        ({"why": "  "}, "This field is required"),
        ({"why": "x", "until": "2020-01-01T00:00"}, "That is over"),
        ({"why": "x", "until": "tomorrow"}, "Enter a valid date/time"),
        ({"why": "x" * 501}, "at most 500 characters"),
    ],
)
def test_what_would_say_nothing_is_refused(pauser, data, said):
    """And nothing is changed, nor written down."""
    response = pauser.post(PAUSE, {"csrf": "x", **data})

    assert said in response.content.decode()
    assert (EffectControl.objects.count(), LogEntry.objects.count()) == (0, 0)


def test_resumed_it_goes_on_and_what_waited_comes_back(pauser):
    """At once, and not in two hours."""
    pause("shop.wrap", by="ada", why="?")
    rows = [held_back("shop.wrap").pk for _ in range(2)]

    response = pauser.post(RESUME, {"why": "new paper"}, follow=True)

    assert paused() == []
    assert Delivery.objects.filter(pk__in=rows, look_at__lte=DbNow()).count() == 2
    assert LogEntry.objects.get().get_change_message() == "Resumed: new paper"
    assert "Resumed shop.wrap: 2 brought back." in response.content.decode()


def test_a_request_brings_back_so_many_and_says_what_becomes_of_the_rest(pauser, monkeypatch):
    """A million rows take longer than a request may."""
    monkeypatch.setattr(catalogue_admin, "AT_MOST", 2)
    pause("shop.wrap", by="ada", why="?")
    for _ in range(3):
        held_back("shop.wrap")

    response = pauser.post(RESUME, {"why": "new paper"}, follow=True)

    assert "2 brought back. The others come by themselves" in response.content.decode()
    assert Delivery.objects.filter(look_at__gt=DbNow()).count() == 1


def test_resumed_twice_is_once(pauser):
    """The second of two people is told so, and leaves no entry."""
    pause("shop.wrap", by="ada", why="?")
    pauser.post(RESUME, {"why": "new paper"})

    response = pauser.post(RESUME, {"why": "new paper, too"}, follow=True)

    assert "It was not paused: shop.wrap" in response.content.decode()
    assert LogEntry.objects.count() == 1


def test_what_this_release_does_not_know_can_be_resumed_but_not_paused(pauser):
    """Nothing of it begins here anyway; its pause must not outlive everybody who knows of it."""
    EffectControl.objects.create(effect="gone.effect", paused_at=DbNow())

    assert pauser.post(page_of("gone.effect", "pause"), {"why": "x"}).status_code == 404
    pauser.post(page_of("gone.effect", "resume"), {"why": "it is gone"})

    assert paused() == []


def test_the_pause_and_its_entry_share_one_fate(pauser, monkeypatch):
    """A pause that nobody answers for is the one that is found next week."""

    def broken(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(catalogue_admin.pausing, "write_down", broken)
    with pytest.raises(RuntimeError):
        pauser.post(PAUSE, {"why": "wrong paper"})

    assert LogEntry.objects.count() == 0


# Several databases


@pytest.fixture
def two_databases(settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "DATABASES": ("default", "other")}


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("two_databases")
@pytest.mark.parametrize(
    ("chosen", "default", "other"),
    [("", ["shop.wrap"], ["shop.wrap"]), ("other", [], ["shop.wrap"])],
)
def test_a_pause_is_of_all_databases_or_the_one_that_is_chosen(pauser, chosen, default, other):
    """One of them may be a customer's, whose partner is away."""
    pauser.post(PAUSE, {"why": "wrong paper", "database": chosen})

    assert (paused(), paused("other")) == (default, other)
    told = {entry.get_change_message().partition(",")[0] for entry in LogEntry.objects.all()}
    assert told == {f"Paused on {name}" for name in ("default", "other") if chosen in ("", name)}


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("two_databases")
def test_the_page_says_how_it_stands_on_each(pauser):
    """Paused on one and running on the other is what one has to see."""
    pause("shop.wrap", by="ada", why="?", using="other")

    page, listed = (
        shown(pauser, page_of("shop.wrap")),
        shown(pauser, "/admin/reliable_effects/effectcontrol/"),
    )
    default, other = page.index(">default</th>"), page.index(">other</th>")

    assert "runs" in page[default:other]
    assert "paused" in page[other:]
    assert "paused on other" in listed


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("two_databases")
def test_resumed_on_one_it_stays_paused_on_the_other(pauser):
    """As it was chosen."""
    for using in ("default", "other"):
        pause("shop.wrap", by="ada", why="?", using=using)

    pauser.post(RESUME, {"why": "new paper", "database": "other"})

    assert (paused(), paused("other")) == (["shop.wrap"], [])


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.usefixtures("two_databases")
def test_a_database_that_is_not_swept_cannot_be_chosen(pauser):
    """It may have no tables."""
    response = pauser.post(PAUSE, {"why": "x", "database": "elsewhere"})

    assert "Select a valid choice" in response.content.decode()
