"""Scheduled jobs: seen by date, found by key, and run, moved or cancelled with a reason."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Count
from django.test import Client
from django.test.utils import CaptureQueriesContext

from reliable_effects.clock import read_clock
from reliable_effects.outbox.models import OutboxEvent
from reliable_effects.schedule.states import JobState
from tests.admin.urls_of_trials import TrialExpiryAdmin
from tests.schedule.conftest import (
    DAY,
    HOUR,
    NEXT_YEAR,
    blocked_job,
    cancelled_job,
    done_job,
    due_job,
    missed_job,
    scheduled,
    ticked,
    trial,
)
from tests.shop.models import Order
from tests.trials.models import TrialExpiry

pytestmark = pytest.mark.django_db

LIST = "/admin/reliable_effects/scheduledjob/"
TRIALS = "/trials/trials/trialexpiry/"
VERBS = {"run_now": "run", "reschedule": "reschedule", "cancel": "cancel"}  # to permissions
of_trials = pytest.mark.urls("tests.admin.urls_of_trials")
CHOICES = {"wall": "2099-07-01T09:00", "zone": "Europe/Berlin", "follow": "on"}


@pytest.fixture
def operator(log_in) -> Client:
    permissions = (f"{verb}_scheduledjob" for verb in VERBS.values())
    return log_in("view_scheduledjob", "view_outboxevent", *permissions)


def ask(client, verb, *rows, address=LIST):
    """Choose the action in the list, as its form does."""
    return client.post(
        address, {"action": verb, "_selected_action": [row.pk for row in rows], "select_across": 0}
    )


def confirm(client, question, *, why="asked for", address=LIST, **fields):
    """Send the confirmation page's form with what the page has put in it."""
    hidden = re.findall(
        r'<input type="hidden" name="(\w+)" value="([^"]*)"', question.content.decode()
    )
    kept = {name: value for name, value in hidden if name != "csrfmiddlewaretoken"}
    return client.post(address, {**kept, "why": why, **fields}, follow=True)


def told(response) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# Seen and found


def listed(client, query="") -> set[str]:
    page = client.get(LIST + query)
    assert page.status_code == 200
    return {str(row.pk) for row in page.context["cl"].result_list}


def test_the_list_shows_what_comes_next_first(operator):
    """Waiting, the next in front; what needs a person behind it."""
    far, soon, blocked = scheduled(), due_job(ago=-HOUR), blocked_job()

    page = operator.get(LIST)

    assert [row.pk for row in page.context["cl"].result_list] == [soon.pk, far.pk, blocked.pk]


@pytest.mark.parametrize(
    ("query", "made"),
    [
        ("?state=needs+a+person", {"blocked", "missed"}),
        ("?state=waiting", {"due", "soon", "far"}),
        ("?state=done", {"done"}),
        ("?reason=SUBJECT_GONE", {"blocked"}),
        ("?due=now", {"due"}),
        ("?due=late", {"due"}),
        ("?due=day", {"soon"}),
        ("?due=week", {"soon"}),
        ("?event=shop.order_seen", {"due", "soon", "far", "blocked", "missed", "done", "cancelled"}),
        ("?event=shop.order_placed", set()),
        ("?at__year=2099", {"far"}),
        ("?at__year=2099&at__month=3&at__day=28", {"far"}),
        ("?at__year=2098", set()),
        ("?state=nonsense&due=nonsense", {"due", "soon", "far", "blocked", "missed", "done", "cancelled"}),
    ],
)  # fmt: skip
def test_filters_find_what_they_say(operator, query, made):
    """Each is what somebody asks in the middle of something."""
    jobs = {
        "due": due_job(ago=HOUR),
        "soon": due_job(ago=-HOUR),
        "far": scheduled(),
        "blocked": blocked_job(),
        "missed": missed_job(),
        "done": done_job(),
        "cancelled": cancelled_job(),
    }

    assert listed(operator, query) == {str(jobs[name].pk) for name in made}


def test_a_job_is_found_by_its_key_its_subject_and_its_id(operator):
    """What people have at hand."""
    order = Order.objects.create(pk=4711)
    job, _other = scheduled(order, key="trial:ümlaut 7"), scheduled()

    for term in ("trial:ümlaut 7", "4711", "shop.Order:4711", str(job.pk)):
        assert listed(operator, f"?q={term}") == {str(job.pk)}, term
    for term in ("trial", "4799", "x" * 40, "'; --"):
        assert listed(operator, f"?q={term}") == set(), term


def test_the_dates_lead_from_years_to_days_and_back(operator):
    """As Django's own hierarchy does."""
    scheduled()
    due_job(ago=-HOUR)
    now = datetime.now(UTC)

    years = operator.get(LIST).context["dates"]
    months = operator.get(f"{LIST}?at__year=2099&state=waiting").context["dates"]
    days = operator.get(f"{LIST}?at__year=2099&at__month=2&at__day=3").context["dates"]

    assert [period.title for period in years.choices()] == [
        str(year) for year in range((now + timedelta(hours=1)).year, 2100)
    ]
    assert years.choices()[-1].query == "?at__year=2099"
    assert [period.title for period in months.back()] == ["All dates"]
    assert months.choices()[2].query == "?state=waiting&at__year=2099&at__month=3"
    assert [period.title for period in days.back()] == ["All dates", "2099", "February"]
    assert [period.title for period in days.choices()] == [str(day) for day in range(1, 29)]
    assert [period.title for period in days.choices() if period.chosen] == ["3"]


@pytest.mark.parametrize(
    "query",
    [
        "?at__year=x",
        "?at__year=99999",
        "?at__year=99999&at__year=2099",
        "?at__year=2099&at__year=99999",
        "?at__year=2099&at__month=13",
        "?at__year=2099&at__month=2&at__day=31",
        "?at__month=2",
    ],
)
def test_dates_that_are_none_are_no_error(operator, query):
    """Somebody mistyped an address."""
    scheduled()

    assert operator.get(LIST + query, follow=True).status_code == 200


def test_a_page_shows_the_job_and_leads_to_its_event(operator):
    """What, about whom, when, and what became of it."""
    job = due_job(payload={"by": "<anna>"})

    before = operator.get(f"{LIST}{job.pk}/change/").content.decode()
    ticked(job)
    after = operator.get(f"{LIST}{job.pk}/change/").content.decode()

    assert "&lt;anna&gt;" in before
    assert job.key in before
    assert str(OutboxEvent.objects.get().pk) in after


def test_nothing_can_be_edited_added_or_deleted(admin_client):
    """Not by superusers either: remedies are the way."""
    job = scheduled()

    for action in ("delete", "add"):
        address = f"{LIST}add/" if action == "add" else f"{LIST}{job.pk}/delete/"
        assert admin_client.get(address).status_code == 403
    assert admin_client.post(f"{LIST}{job.pk}/change/", {"key": "x"}).status_code == 403


def test_no_page_counts_the_table(operator):
    """Five million rows."""
    for _ in range(3):
        scheduled()

    with CaptureQueriesContext(connection) as queries:
        operator.get(LIST)

    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT 10001" in sql for sql in counts)
    assert not [q for q in queries if "DISTINCT" in q["sql"] and "scheduledjob" in q["sql"]]


# Run now, reschedule, cancel


def test_run_now_is_due_at_the_next_tick(operator):
    """However far away it was."""
    job = scheduled()

    question = ask(operator, "run_now", job)
    job.refresh_from_db()
    assert job.at == NEXT_YEAR  # the first click only asks
    answer = confirm(operator, question)
    ticked(job)

    assert "1 job was made due now." in told(answer)
    assert job.state == JobState.DONE


def test_reschedule_asks_for_a_time_and_its_zone(operator):
    """As an instant, or to follow the wall."""
    one, other = scheduled(), scheduled()

    confirm(operator, ask(operator, "reschedule", one), **CHOICES)
    confirm(operator, ask(operator, "reschedule", other), **CHOICES | {"follow": ""})

    one.refresh_from_db()
    other.refresh_from_db()
    at = datetime(2099, 7, 1, 7, tzinfo=UTC)
    assert (one.at, one.wall_clock) == (at, "2099-07-01T09:00:00 Europe/Berlin")
    assert (other.at, other.wall_clock) == (at, "")


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall": ""},
        {"wall": "tomorrow"},
        {"wall": "2099-07-01T09:00+02:00"},
        {"wall": "9999-12-31T23:59"},
        {"zone": ""},
        {"zone": "Europe/Belrin"},
        {"zone": "Europe"},
        {"why": ""},
        {"why": "\x00"},
    ],
)
def test_a_wrong_answer_is_asked_again_and_nothing_is_changed(operator, wrong):
    """With what was wrong."""
    job = scheduled()

    again = confirm(operator, ask(operator, "reschedule", job), **CHOICES | wrong)

    assert "errorlist" in again.content.decode()
    job.refresh_from_db()
    assert job.at == NEXT_YEAR
    assert not LogEntry.objects.exists()


def test_cancel_frees_the_key(operator):
    """And says so in the history, with who and why."""
    job = blocked_job()

    confirm(operator, ask(operator, "cancel", job), why="ticket <b>7</b>")

    job.refresh_from_db()
    assert (job.state, job.key_held) == (JobState.CANCELLED, None)
    entry = LogEntry.objects.get()
    assert (entry.object_id, str(entry.user_id)) == (
        str(job.pk), operator.session["_auth_user_id"],
    )  # fmt: skip
    assert "ticket <b>7</b>" in entry.change_message
    assert "one of 1" in entry.change_message


@pytest.mark.parametrize("verb", ["run_now", "reschedule"])
def test_a_missed_job_comes_back_with_its_key(operator, verb):
    """A person decided that it is of use all the same."""
    job = missed_job(late=HOUR)
    key_held = scheduled(key="other").key_held

    confirm(operator, ask(operator, verb, job), **CHOICES)

    job.refresh_from_db()
    assert (job.state, job.ended_at) == (JobState.WAITING, None)
    assert job.key_held not in (None, key_held)


def test_a_missed_job_whose_key_another_has_stays_where_it_is(operator):
    """Two jobs under one key could not be told apart."""
    missed = missed_job()
    scheduled(key=missed.key)
    other = missed_job()

    answer = confirm(operator, ask(operator, "run_now", missed, other))

    missed.refresh_from_db()
    other.refresh_from_db()
    assert (missed.state, other.state) == (JobState.MISSED, JobState.WAITING)
    assert "1 left alone" in told(answer)


@pytest.mark.parametrize("verb", VERBS)
def test_the_question_says_what_will_change_and_what_not(operator, verb):
    """And what has ended stays as it is."""
    jobs = [scheduled(), blocked_job(), done_job(), cancelled_job()]

    question = ask(operator, verb, *jobs)
    text = question.content.decode()
    confirm(operator, question, **CHOICES)

    assert "2 will be" in text
    assert "its event was emitted" in text
    assert "it is cancelled" in text
    for job in jobs[2:]:
        state = job.state
        job.refresh_from_db()
        assert job.state == state


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("may", ["none", *VERBS])
def test_each_verb_needs_its_own_permission(log_in, verb, may):
    """Who may look may not act."""
    permissions = [] if may == "none" else [f"{VERBS[may]}_scheduledjob"]
    client = log_in("view_scheduledjob", *permissions)
    job = scheduled()

    page = client.get(f"{LIST}{job.pk}/change/").content.decode()
    fields = {"action": verb, "_selected_action": [job.pk], "ids": job.pk, "why": "x"}
    client.post(LIST, fields | CHOICES)

    job.refresh_from_db()
    changed = job.at != NEXT_YEAR or job.state == JobState.CANCELLED
    assert changed == (verb == may)
    assert (f'value="{verb}"' in page) == (verb == may)


def test_a_get_changes_nothing(operator):
    """Links are prefetched."""
    job = scheduled()

    operator.get(
        LIST, {"action": "cancel", "_selected_action": [job.pk], "ids": job.pk, "why": "x"}
    )

    job.refresh_from_db()
    assert job.state == JobState.WAITING


def test_ids_that_are_none_are_left_out(operator):
    """A form may be forged."""
    job = scheduled()
    fields = {"action": "cancel", "_selected_action": [job.pk], "why": "x"}

    operator.post(LIST, fields | {"ids": f"7,x,,{job.pk},{'9' * 400}"})

    job.refresh_from_db()
    assert job.state == JobState.CANCELLED


# A project's own jobs


@of_trials
def test_a_project_s_own_jobs_have_the_same_actions(admin_client):
    """By a mixin."""
    rows = [trial(ago=-HOUR), trial(ago=-DAY), trial(ago=-DAY)]

    confirm(admin_client, ask(admin_client, "run_now", rows[0], address=TRIALS), address=TRIALS)
    confirm(
        admin_client, ask(admin_client, "reschedule", rows[1], address=TRIALS),
        address=TRIALS, **CHOICES,
    )  # fmt: skip
    confirm(admin_client, ask(admin_client, "cancel", rows[2], address=TRIALS), address=TRIALS)

    for row in rows:
        row.refresh_from_db()
    assert rows[0].at <= read_clock("default")
    assert rows[1].wall_clock == "2099-07-01T09:00:00 Europe/Berlin"
    assert rows[2].state == JobState.CANCELLED
    assert LogEntry.objects.count() == 3


@of_trials
@pytest.mark.parametrize("may", [True, False])
def test_they_need_the_model_s_own_change_permission(log_in, may):
    """Django's, as its form does."""
    client = log_in("view_trialexpiry", *(["change_trialexpiry"] if may else []))
    row = trial(ago=-HOUR)

    fields = {"action": "cancel", "_selected_action": [row.pk], "ids": row.pk, "why": "x"}
    client.post(TRIALS, fields)

    row.refresh_from_db()
    assert (row.state == JobState.CANCELLED) == may


@of_trials
def test_they_ask_the_admin_who_may_change_its_rows(admin_client, monkeypatch):
    """A project may say so in code."""
    job = trial(ago=-HOUR)
    monkeypatch.setattr(TrialExpiryAdmin, "has_change_permission", lambda *_: False)

    page = ask(admin_client, "cancel", job, address=TRIALS)

    job.refresh_from_db()
    assert b"Cancel jobs?" not in page.content
    assert job.state == JobState.WAITING


@of_trials
@pytest.mark.parametrize("verb", VERBS)
def test_rows_that_the_admin_counts_something_of_are_changed(admin_client, monkeypatch, verb):
    """What is grouped or joined cannot be locked as it is."""
    job = trial(ago=-HOUR)
    annotated = TrialExpiry.objects.annotate(orders=Count("order__id"))
    monkeypatch.setattr(TrialExpiryAdmin, "get_queryset", lambda *_: annotated.all())

    question = ask(admin_client, verb, job, address=TRIALS)
    answer = confirm(admin_client, question, address=TRIALS, **CHOICES)

    assert "1 job was" in told(answer)


@of_trials
def test_they_are_edited_with_the_model_s_own_form(admin_client):
    """And what the sweep reads stays true."""
    row = trial(ago=-HOUR, key="a")
    page = admin_client.get(f"{TRIALS}{row.pk}/change/").content.decode()
    assert 'value="run_now"' in page

    form = {
        "order": row.order_id,
        "plan": "gold",
        "key": "b",
        "at_0": "2099-03-28",
        "at_1": "12:00",
    }
    answer = admin_client.post(f"{TRIALS}{row.pk}/change/", form)

    assert answer.status_code == 302
    row.refresh_from_db()
    assert (row.plan, row.key, row.state) == ("gold", "b", JobState.WAITING)
    assert User.objects.exists()
