"""What surrounds effects: nothing where nothing is asked for, and no library where none is there."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, nullcontext

import pytest
from django.core.exceptions import ImproperlyConfigured

from reliable_effects.conf import INSTRUMENTS
from reliable_effects.conf import settings as known
from reliable_effects.outbox import instruments
from reliable_effects.outbox.claim import claim, look
from tests.outbox.conftest import carry_out, pending_delivery


def test_where_nobody_measures_nothing_surrounds_an_effect():
    """It is the hot path."""
    assert instruments.around_effect is nullcontext


@pytest.mark.django_db(transaction=True)
def test_instruments_surround_each_other_and_a_tests_own_is_inside(make_effect):
    """What is measured is what the effect sees; the first that came is the outermost."""
    told: list[str] = []

    def telling(name):
        @contextmanager
        def instrument(*_):
            told.append(f"{name} begins")
            yield
            told.append(f"{name} ends")

        return instrument

    first, second = telling("first"), telling("second")
    for each in (first, second, first):
        instruments.instrument(each)
    try:
        with instruments.surround_effects_with(telling("test")):
            carry_out(pending_delivery(make_effect(lambda *_: told.append("effect"))))
    finally:
        instruments.take_out(first)
        instruments.take_out(second)

    begins, ends = ["first begins", "second begins"], ["second ends", "first ends"]
    assert told == [*begins, "test begins", "effect", "test ends", *ends]
    assert instruments.around_effect is nullcontext


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("group", [False, True])
def test_a_claim_knows_since_when_it_was_due(group, make_effect):
    """How late it is is the first thing that is asked."""
    row = pending_delivery(make_effect(harmless_to_repeat=True))

    (claimed,) = claim(look("default", [row.pk]), group=group)

    assert claimed.due_at == row.due_at


# Settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"INSTRUMENTS": ["promotheus"]}, "Did you mean 'prometheus'"),
        ({"INSTRUMENTS": "prometheus"}, "tuple"),
        ({"INSTRUMENTS": ["opentelemetry"], "TRACE_ID": "shop.traces.id"}, "leave one out"),
    ],
)
def test_what_makes_no_sense_is_refused(given, said, settings):
    """By name."""
    settings.RELIABLE_EFFECTS = given

    with pytest.raises(ImproperlyConfigured, match=said):
        known()


# Without the libraries


def in_a_process_without(*libraries: str, given: list[str], then: str = "") -> str:
    """What a fresh process says that cannot import *libraries*."""
    code = f"""
import sys
for name in {libraries!r}:
    sys.modules[name] = None
from tests import settings
settings.RELIABLE_EFFECTS = {{"TRANSPORT": "none", "INSTRUMENTS": {given!r}}}
import django
django.setup()
{then}
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_without_the_libraries_everything_else_works():
    """They are extras."""
    then = f"""
import importlib, pkgutil
import reliable_effects
from django.core.management import call_command
for module in pkgutil.walk_packages(reliable_effects.__path__, "reliable_effects."):
    if module.name not in {list(INSTRUMENTS.values())!r}:
        importlib.import_module(module.name)
call_command("check")
"""

    assert "fine" in in_a_process_without("prometheus_client", "opentelemetry", given=[], then=then)


@pytest.mark.parametrize(
    ("name", "library"),
    [("prometheus", "prometheus_client"), ("opentelemetry", "opentelemetry")],
)
def test_a_library_that_is_missing_is_named_with_what_installs_it(name, library):
    """When the process starts, and not in the middle of the night."""
    said = in_a_process_without(library, given=[name])

    assert f"pip install django-reliable-effects[{name}]" in said
    assert library in said


def test_what_is_named_is_started_with_django():
    """One line in the settings is all."""
    then = """
from reliable_effects.outbox import instruments
from reliable_effects import signals
assert len(instruments._instruments) == 2
assert signals.event_emitted.has_listeners()
"""

    assert "fine" in in_a_process_without(given=["prometheus", "opentelemetry"], then=then)
