"""The end of a trial is a month away: it must come, once, unless the customer says otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from example_project.loss import lose
from example_project.shop.models import Membership, TrialExpiry
from example_project.shop.trials import (
    ZONE,
    AlreadyTried,
    in_a_month,
    in_seconds,
    move_end,
    start_trial,
    subscribe,
)
from reliable_effects.models import JobState, OutboxEvent
from reliable_effects.testing import run_effects

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"
A_MONTH_LATER = timedelta(days=31)
LONG_PAST = datetime(2020, 1, 1, tzinfo=UTC)


def begin(ends=None) -> TrialExpiry:
    return start_trial(ADA, ends or in_a_month())


def plan() -> str:
    return Membership.objects.get(email=ADA).plan


def mails(partners) -> list[dict]:
    return [call for call in partners.arrivals(partner="mail") if call["applied"]]


def on_the_wall(moment: datetime) -> str:
    return moment.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%dT%H:%M")


def told(answer) -> str:
    """What the page says after the redirect."""
    return answer.content.decode()


def test_a_trial_ends_at_nine_in_the_morning_wherever_the_clocks_stand_by_then():
    trial = begin()

    local = trial.at.astimezone(ZoneInfo(ZONE))
    assert (local.hour, local.minute) == (9, 0)
    assert timedelta(days=29) < trial.at - timezone.now() < A_MONTH_LATER


def test_until_then_nothing_happens(partners):
    begin()

    run_effects(until=timedelta(days=28))

    assert plan() == Membership.Plan.TRIAL
    assert mails(partners) == []


def test_a_month_later_the_plan_has_changed_and_the_customer_was_told_once(partners):
    trial = begin()

    run_effects(until=A_MONTH_LATER)
    run_effects(until=2 * A_MONTH_LATER)
    trial.refresh_from_db()

    assert plan() == Membership.Plan.BASIC
    assert [(mail["reference"], mail["body"]["to"]) for mail in mails(partners)] == [
        (trial.reference, ADA)
    ]
    assert (trial.state, trial.outcome) == (JobState.DONE, "ended")
    assert trial.told_at


def test_a_trial_that_was_moved_ends_later(partners):
    trial = begin(in_seconds(20))

    assert move_end(trial, in_a_month())
    run_effects(until=timedelta(days=28))
    before = mails(partners)
    run_effects(until=A_MONTH_LATER)

    assert before == []
    assert len(mails(partners)) == 1


def test_who_subscribes_is_never_told_that_the_trial_has_ended(partners):
    trial = begin()

    assert subscribe(trial)
    run_effects(until=A_MONTH_LATER)
    trial.refresh_from_db()

    assert plan() == Membership.Plan.PLUS
    assert mails(partners) == []
    assert trial.state == JobState.CANCELLED


def test_an_end_that_has_come_can_be_neither_moved_nor_cancelled(partners):
    """The customer may have had the page open since yesterday."""
    trial = begin()
    run_effects(until=A_MONTH_LATER)

    assert not move_end(trial, in_a_month())
    assert not subscribe(trial)

    assert plan() == Membership.Plan.BASIC
    assert len(mails(partners)) == 1


def test_a_second_trial_is_refused_and_the_first_goes_on():
    begin()

    with pytest.raises(AlreadyTried, match=ADA):
        begin()

    assert TrialExpiry.objects.count() == Membership.objects.count() == 1


@pytest.mark.parametrize("tables", [("deliveries",), ("events",), ("deliveries", "events")])
def test_a_trial_whose_end_was_lost_with_the_outbox_ends_all_the_same(partners, tables):
    trial = begin()
    partners.behave(mail={"busy": 1, "retry_after": 7200})
    run_effects(until=A_MONTH_LATER)
    partners.behave(mail={})
    lose(*tables)
    TrialExpiry.objects.update(at=LONG_PAST)

    call_command("effects_reconcile", "--yes", "--limit", "0", stdout=StringIO())
    run_effects(until=2 * A_MONTH_LATER)
    trial.refresh_from_db()

    assert trial.told_at
    assert len(mails(partners)) == 1
    assert len({call["key"] for call in partners.arrivals(partner="mail")}) == 1


def test_a_plan_that_did_not_change_is_owed(partners):
    """Somebody sets the plan back by hand; the trial is over all the same."""
    trial = begin()
    run_effects(until=A_MONTH_LATER)
    lose("deliveries", "events")
    Membership.objects.update(plan=Membership.Plan.TRIAL)
    TrialExpiry.objects.update(at=LONG_PAST)

    call_command("effects_reconcile", "--yes", "--limit", "0", stdout=StringIO())
    run_effects()

    assert plan() == Membership.Plan.BASIC
    assert len(mails(partners)) == 1
    assert OutboxEvent.objects.get().subject_pk == str(trial.pk)


# The pages


@pytest.mark.usefixtures("partners")
def test_a_trial_can_be_started_and_watched_on_the_web(client):
    answer = client.post(reverse("trials"), {"email": ADA, "ends": "soon"}, follow=True)
    before = told(answer)
    run_effects(until=timedelta(minutes=1))
    after = told(client.get(reverse("trial-effects", args=[TrialExpiry.objects.get().pk])))

    assert "Nothing is to be done until then" in before
    assert 'data-settled="no"' in before
    assert after.count(">done<") == 2
    assert 'data-settled="yes"' in after


@pytest.mark.parametrize("form", [{"email": "nobody", "ends": "month"}, {"email": ADA}, {}])
def test_a_form_with_a_mistake_starts_nothing(client, form):
    answer = client.post(reverse("trials"), form)

    assert answer.status_code == 422
    assert not Membership.objects.exists()


def test_a_second_trial_is_refused_on_the_page(client):
    begin()

    answer = client.post(reverse("trials"), {"email": ADA, "ends": "month"})

    assert answer.status_code == 422
    assert "has had a trial already" in told(answer)


def test_an_end_is_moved_by_the_clocks_of_the_customers(client):
    """What is typed is a time on the wall, and it is kept as one."""
    trial = begin()

    answer = client.post(
        reverse("move-trial", args=[trial.pk]), {"ends": "2030-07-01T09:30"}, follow=True
    )
    trial.refresh_from_db()

    assert "ends at 1 Jul 2030, 09:30 now" in told(answer)
    assert trial.at == datetime(2030, 7, 1, 7, 30, tzinfo=UTC)
    assert trial.wall_clock == f"2030-07-01T09:30:00 {ZONE}"


@pytest.mark.parametrize(
    ("ends", "problem"),
    [
        ("2020-01-01T09:00", "That has passed."),
        ("9999-12-31T23:59", "No trial is as long as that."),
        ("tomorrow", "Enter a valid date/time."),
        ("", "Say when the trial is to end."),
    ],
)
def test_a_time_that_makes_no_sense_moves_nothing_and_says_why(client, ends, problem):
    trial = begin()

    answer = client.post(reverse("move-trial", args=[trial.pk]), {"ends": ends}, follow=True)

    assert f"was not moved. {problem}" in told(answer)
    assert TrialExpiry.objects.get().at == trial.at


def test_an_end_is_cancelled_on_the_page_by_staying_a_member(client):
    trial = begin()

    answer = client.post(reverse("subscribe", args=[trial.pk]), follow=True)

    assert f"{ADA} stays a member" in told(answer)
    assert plan() == Membership.Plan.PLUS


@pytest.mark.usefixtures("partners")
def test_what_comes_too_late_is_told_so(client):
    trial = begin()
    run_effects(until=A_MONTH_LATER)
    later = on_the_wall(timezone.now() + 3 * A_MONTH_LATER)

    moved = client.post(reverse("move-trial", args=[trial.pk]), {"ends": later}, follow=True)
    kept = client.post(reverse("subscribe", args=[trial.pk]), follow=True)

    assert "was not moved: it is over" in told(moved)
    assert "nothing to cancel" in told(kept)


@pytest.mark.parametrize("page", ["move-trial", "subscribe"])
def test_links_and_strangers_change_nothing(page):
    """A GET may come from a search engine, a POST without its token from another site."""
    trial = begin()
    client = Client(enforce_csrf_checks=True)

    assert client.get(reverse(page, args=[trial.pk])).status_code == 405
    assert client.post(reverse(page, args=[trial.pk])).status_code == 403
    assert client.get(reverse("trial", args=[trial.pk + 1])).status_code == 404


def test_the_admin_shows_the_ends_with_their_remedies(admin_client):
    begin()

    page = told(admin_client.get(reverse("admin:shop_trialexpiry_changelist")))

    assert ADA in page
    assert "Reschedule selected jobs" in page
