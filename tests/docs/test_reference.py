"""The reference lists what there is, and nothing else."""

from __future__ import annotations

import dataclasses
import inspect
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.core.management import BaseCommand, get_commands, load_command_class
from django.dispatch import Signal

import reliable_effects
from reliable_effects import conf, exceptions, inbox, rest_framework, signals
from reliable_effects.checks import CATALOGUE
from reliable_effects.console.groups.states import GROUP_MOVES, GroupState
from reliable_effects.effects.effect import Effect
from reliable_effects.idempotency import Idempotency
from reliable_effects.idempotency.models import IdempotencyRecordQuerySet
from reliable_effects.idempotency.options import Options
from reliable_effects.idempotency.problems import PROBLEMS
from reliable_effects.idempotency.states import RecordState
from reliable_effects.outbox.models import Attempt, Delivery
from reliable_effects.outbox.states import MOVES, Reason, State
from reliable_effects.schedule.models import JobQuerySet, ScheduledJobQuerySet
from reliable_effects.schedule.states import JOB_MOVES, JobReason, JobState
from reliable_effects.watch.rules import rules
from reliable_effects.watch.shedding import shed_load

from .pages import DOCS, PAGES, ROOT, rows

REFERENCE = DOCS / "reference"
API, CHECKS = REFERENCE / "api.md", REFERENCE / "checks.md"


def listed(page: Path, heading: str = "") -> list[str]:
    return [row[0] for row in rows(page, heading)]


def test_every_setting_is_listed_with_its_default():
    """A default that is told wrong is found out in production."""
    told = {key: eval(default, {"timedelta": timedelta}) for key, default, _ in _settings()}

    defaults = conf.Settings()
    assert told == {
        field.name.upper(): getattr(defaults, field.name) for field in dataclasses.fields(defaults)
    }


def _settings() -> list[list[str]]:
    return rows(REFERENCE / "settings.md")


def test_every_state_and_reason_is_listed_as_people_see_it():
    """Who reads the admin at night looks its words up here."""
    states = rows(REFERENCE / "states.md", "States")
    reasons = rows(REFERENCE / "states.md", "Reasons")
    outcomes = rows(REFERENCE / "states.md", "Outcomes of attempts")

    assert [tuple(row[:3]) for row in states] == [
        (state.name, str(state.value), state.label) for state in State
    ]
    assert {tuple(row[:2]) for row in reasons} == {
        (reason.value, reason.label) for reason in Reason if reason
    }
    assert [tuple(row) for row in outcomes] == [tuple(pair) for pair in Attempt.Outcome.choices]


def test_every_move_is_listed_and_no_other():
    """The table of the code is what each UPDATE obeys."""
    told = {tuple(row) for row in rows(REFERENCE / "states.md", "Moves")}

    assert told == {(a.name, b.name, why) for a, ends in MOVES.items() for b, why in ends.items()}


def test_states_reasons_and_moves_of_jobs_are_listed():
    """They are words of their own."""
    page = REFERENCE / "states.md"
    moves = {tuple(row) for row in rows(page, "Moves of jobs")}

    assert [tuple(row[:3]) for row in rows(page, "States of jobs")] == [
        (state.name, str(state.value), state.label) for state in JobState
    ]
    assert {tuple(row) for row in rows(page, "Reasons of blocked jobs")} == {
        (reason.value, reason.label) for reason in JobReason if reason
    }
    assert moves == {
        (a.name, b.name, why) for a, ends in JOB_MOVES.items() for b, why in ends.items()
    }


def test_states_and_moves_of_groups_of_failures_are_listed():
    """Words that people see in the admin, and use."""
    page = REFERENCE / "states.md"
    moves = {tuple(row) for row in rows(page, "Moves of groups of failures")}

    assert [tuple(row[:3]) for row in rows(page, "States of groups of failures")] == [
        (state.name, str(state.value), state.label) for state in GroupState
    ]
    assert moves == {
        (a.name, b.name, why) for a, ends in GROUP_MOVES.items() for b, why in ends.items()
    }


def test_every_query_about_jobs_is_listed():
    """Each is an alarm or a page that somebody may want."""
    declared = {*vars(JobQuerySet), *vars(ScheduledJobQuerySet)}

    assert set(listed(API, "Jobs")) == {name for name in declared if not name.startswith("_")}


def test_type_checkers_know_every_option_of_an_idempotent_view():
    """They see them written out a second time."""
    declared = {field.name for field in dataclasses.fields(Idempotency)}

    assert set(Options.__annotations__) == declared


def test_states_problems_and_queries_of_idempotency_are_listed():
    """Clients are written against the codes."""
    states = rows(REFERENCE / "states.md", "States of idempotency records")
    queries = [name for name in vars(IdempotencyRecordQuerySet) if not name.startswith("_")]

    assert [tuple(row[:3]) for row in states] == [
        (state.name, str(state.value), state.label) for state in RecordState
    ]
    assert [tuple(row[:2]) for row in rows(API, "Problems")] == [
        (problem.code, str(problem.status)) for problem in PROBLEMS
    ]
    assert listed(API, "Idempotency records") == queries


def test_every_move_is_drawn_and_no_other():
    """A picture that leaves an arrow out is believed."""
    picture = (DOCS / "explanation" / "lifecycle.svg").read_text()

    drawn = re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture)
    named = re.findall(r'class="name"[^>]*>(\w+)<', picture)

    assert sorted(drawn) == sorted((a.name, b.name) for a, ends in MOVES.items() for b in ends)
    assert sorted(named) == sorted(state.name for state in State)


def test_every_signal_is_listed_with_its_arguments():
    """The comment beside each signal is what its senders keep to."""
    source = inspect.getsource(signals)
    declared = {
        name: re.findall(
            r"(\w+):", re.search(rf"^{name} = Signal\(\)  # (.*)$", source, re.MULTILINE)[1]
        )
        for name, value in vars(signals).items()
        if isinstance(value, Signal)
    }

    told = {row[0]: re.findall(r"\w+", row[1]) for row in rows(REFERENCE / "signals.md")}

    assert told == declared


def test_every_permission_is_listed():
    """Groups are made from this list."""
    made = {
        name
        for model in apps.get_app_config("reliable_effects").get_models()
        for name in [
            *(f"{verb}_{model._meta.model_name}" for verb in model._meta.default_permissions),
            *(name for name, _ in model._meta.permissions),
        ]
    }

    assert set(listed(REFERENCE / "permissions.md")) == made


COMMANDS = sorted(name for name, app in get_commands().items() if app == "reliable_effects")


def test_every_command_has_its_heading():
    """What has none is found by nobody."""
    page = (REFERENCE / "commands.md").read_text()

    assert re.findall(r"^## `(\w+)`$", page, re.MULTILINE) == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_listed(name):
    """`--help` and this page say the same."""
    parser = load_command_class("reliable_effects", name).create_parser("manage.py", name)
    plain = BaseCommand().create_parser("manage.py", name)
    ours = {a.option_strings[-1] if a.option_strings else a.dest for a in parser._actions} - {
        a.option_strings[-1] for a in plain._actions if a.option_strings
    }

    assert set(listed(REFERENCE / "commands.md", f"`{name}`")) == ours


def test_every_check_is_listed():
    """A check is silenced by its id, and understood by this page."""
    told = [(id_, about, when.removeprefix("--")) for id_, about, when in rows(CHECKS)]

    assert told == [(f"reliable_effects.{c.id}", c.about, c.when) for c in CATALOGUE]


def test_every_rule_of_the_alerts_is_listed():
    """Who is woken by a word looks it up."""
    told = {row[0] for row in rows(DOCS / "how-to" / "be-alerted.md", "What is told")}

    assert told == {*rules, "rule"}


@pytest.mark.parametrize(
    ("heading", "of"),
    [
        ("`Event`", reliable_effects.Event.__init__),
        ("`Event.emit`", reliable_effects.Event.emit),
        ("`Event.emit_many`", reliable_effects.Event.emit_many),
        ("`Event.schedule`", reliable_effects.Event.schedule),
        ("`Event.schedule_many`", reliable_effects.Event.schedule_many),
        ("`Event.reschedule`", reliable_effects.Event.reschedule),
        ("`Event.cancel`", reliable_effects.Event.cancel),
        ("`WallClock`", reliable_effects.WallClock),
        ("`effect`", reliable_effects.effect),
        ("`promise`", Effect.promise),
        ("`owed`", Effect.owed),
        ("`Backoff`", reliable_effects.Backoff),
        ("`consume_once`", inbox.consume_once),
        ("`claim`", inbox.claim),
        ("`only_newer`", inbox.only_newer),
        ("`accepted`", rest_framework.accepted),
        ("`shed_load`", shed_load),
        ("`idempotent`", Idempotency),
    ],
)
def test_every_argument_is_listed_in_its_order(heading, of):
    """So that the page may be read beside the editor's hint."""
    declared = [name for name in inspect.signature(of).parameters if name != "self"]

    assert listed(API, heading) == declared


def test_what_a_status_viewset_may_say_is_listed():
    """Each of them decides what strangers are told."""
    viewset = rest_framework.EffectStatusViewSet
    machinery = ("as_view", "list", "retrieve", "cancel", "finalize_response", "get_queryset")
    machinery += ("alias", "document_of", "documents_of", "serialised")  # for `accepted`
    of_drf = {name for base in viewset.__mro__[1:] for name in vars(base)}
    own = [name for name in vars(viewset) if not name.startswith("_")]

    assert listed(API, "`EffectStatusViewSet`") == [
        name for name in own if name not in of_drf and name not in machinery
    ]


def test_the_context_is_listed():
    """It is what every effect has in hand."""
    ctx = reliable_effects.EffectContext
    fields = [field.name for field in dataclasses.fields(ctx)]
    methods = [name for name, _ in inspect.getmembers(ctx, inspect.isfunction)]
    public = {name for name in fields + methods if not name.startswith("_")}

    assert set(listed(API, "`EffectContext`")) == public


def test_outcomes_errors_and_queries_are_listed():
    """Each is something a reader may catch, raise or call."""
    errors = {n for n, v in vars(exceptions).items() if inspect.isclass(v) and _is_error(v)}
    queries = [name for name in vars(type(Delivery.objects.all())) if not name.startswith("_")]

    assert set(listed(API, "Errors")) == errors
    assert set(listed(API, "Outcomes")) == {"Snooze", "Skip", "Poison", "Uncertain"}
    assert listed(API, "Models") == queries


def _is_error(value: type) -> bool:
    return issubclass(value, exceptions.ReliableEffectsError)


def test_every_public_name_is_told():
    """`__all__` is the promise; this page is where it is explained."""
    page = API.read_text()

    assert [name for name in reliable_effects.__all__ if name not in page] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tests_that_a_page_names_exist(page):
    """A promise is as good as the test behind it."""
    for path, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text()):
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
