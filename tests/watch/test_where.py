"""Whoever is woken reads the alert first: it says which page of the admin to open."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from reliable_effects.watch.models import Alert
from reliable_effects.watch.rules import rules
from reliable_effects.watch.where import where

NOWHERE = {"database", "rule"}  # no list can show what could not be read


def test_every_rule_says_where_to_look():
    """A new rule that leads nowhere would be found out at night."""
    subjects = {"jobs": "reliable_effects.ScheduledJob"}

    lost = {rule for rule in rules if where(rule, subjects.get(rule, "x")) is None}

    assert lost == NOWHERE & set(rules)


@pytest.mark.django_db
@pytest.mark.parametrize("rule", sorted(set(rules) - {"database", "jobs"}))
def test_the_page_is_there_and_knows_the_filters(rule, admin_client):
    """The admin answers an unknown filter with a redirect to `?e=1`, and shows everything."""
    place = where(rule, "shop.wrap")
    assert place is not None
    meta = place.model._meta

    answer = admin_client.get(
        reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"), place.filters
    )

    assert answer.status_code == 200
    assert place.name in answer.content.decode()


def test_what_is_over_sends_nobody_anywhere():
    """It would look as if there were something to do."""
    alert = Alert(
        rule="poisoned", subject="shop.wrap", text="1 poisoned", first_seen_at=timezone.now()
    )
    assert alert.told == "1 poisoned: see Groups of failures in the admin"

    alert.resolved_at = timezone.now()

    assert alert.told == "over: 1 poisoned"


@pytest.mark.parametrize(("rule", "subject"), [("jobs", "gone.Table"), ("jobs", "x"), ("new", "x")])
def test_what_nobody_knows_leads_nowhere(rule, subject):
    """A row of another release."""
    alert = Alert(rule=rule, subject=subject, text="late", first_seen_at=timezone.now())

    assert alert.told == "late"
