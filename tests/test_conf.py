"""The settings: one dict, and what is wrong in it is named."""

from __future__ import annotations

from dataclasses import fields
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from reliable_effects.conf import Settings, settings


def test_a_project_that_sets_nothing_gets_defaults_that_work():
    with override_settings(RELIABLE_EFFECTS={}):
        assert settings() == Settings()


def test_override_settings_is_seen_at_once_and_undone_after():
    """Also by code that read them before."""
    before = settings().max_attempts

    with override_settings(RELIABLE_EFFECTS={"MAX_ATTEMPTS": 3}):
        inside = settings().max_attempts

    assert (inside, settings().max_attempts) == (3, before)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"MAX_ATEMPTS": 3}, r"Unknown key 'MAX_ATEMPTS'.*Did you mean 'MAX_ATTEMPTS'\?"),
        ({"max_attempts": 3}, r"Unknown key 'max_attempts'.*Did you mean 'MAX_ATTEMPTS'\?"),
        ({"COLOR": 3}, r"Unknown key 'COLOR' in RELIABLE_EFFECTS\.$"),
        ({7: 3}, r"Unknown key 7"),
        ({"MAX_ATTEMPTS": "3"}, r"\['MAX_ATTEMPTS'\] is '3'; it needs to be a int"),
        ({"MAX_ATTEMPTS": True}, r"\['MAX_ATTEMPTS'\] is True"),
        ({"MAX_ATTEMPTS": 0}, r"\['MAX_ATTEMPTS'\] is 0; it needs to be at least 1"),
        ({"TIMEOUT": 60}, r"\['TIMEOUT'\] is 60.*Write timedelta\(seconds=…\)"),
        ({"TIMEOUT": timedelta(0)}, r"\['TIMEOUT'\].*longer than zero"),
        ({"TIMEOUT": timedelta.max}, r"\['TIMEOUT'\].*at most 3653 days"),
        ({"SWEEP_IN_WORKERS": 1}, r"\['SWEEP_IN_WORKERS'\] is 1; it needs to be a bool"),
        ({"DATABASES": "default"}, r"\['DATABASES'\] is 'default'; it needs to be a tuple"),
        ({"DATABASES": []}, r"\['DATABASES'\].*names none"),
        ({"DATABASES": ["default", "elsewhere"]}, r"\['DATABASES'\].*'elsewhere'.*default, other"),
        ({"QUEUE": ""}, r"\['QUEUE'\] is ''"),
        ({"QUEUE": "q" * 101}, r"\['QUEUE'\].*100 characters"),
        ({"TRANSPORT": "selery"}, r"\['TRANSPORT'\] is 'selery'.*'auto', 'celery', 'none'"),
        ({"REDACT": ""}, r"\['REDACT'\] is ''.*dotted path"),
        ({"TRACE_ID": "trace"}, r"\['TRACE_ID'\] is 'trace'.*dotted path"),
        ({"ALERT_WEBHOOK": "hooks/s3cret"}, r"\['ALERT_WEBHOOK'\] is …; .*begins with https"),
        ({"ALERT_WEBHOOK": "http://["}, r"\['ALERT_WEBHOOK'\] is …; .*begins with https"),
        ({"ALERT_WEBHOOK": "file:///etc"}, r"\['ALERT_WEBHOOK'\] is …; .*begins with https"),
        ({"ALERT_POISON_COUNT": 10_001}, r"_COUNT'\] is 10001; .*counts end there"),
        ({"ALERT_WEBHOOK_TIMEOUT": timedelta(seconds=6)}, r"_TIMEOUT'\] is .*at most 5 s"),
        ({"ALERT_FAILURE_PERCENT": 101}, r"\['ALERT_FAILURE_PERCENT'\] is 101; .*at most 100"),
        ({"PAYLOAD_LIMIT": 2**40}, r"\['PAYLOAD_LIMIT'\].*at most"),
        ("none", "is a str; it needs to be a dict"),
    ],
)
def test_what_is_wrong_is_refused_by_name(given, problem):
    """A misspelt limit would be no limit, and nobody would know before it is needed."""
    with (
        override_settings(RELIABLE_EFFECTS=given),
        pytest.raises(ImproperlyConfigured, match=problem),
    ):
        settings()


def test_a_list_of_databases_is_as_good_as_a_tuple():
    with override_settings(RELIABLE_EFFECTS={"DATABASES": ["default", "other"]}):
        assert settings().databases == ("default", "other")


def test_settings_are_frozen():
    """Code that changed one would change it for this process alone."""
    with pytest.raises(AttributeError):
        settings().max_attempts = 9  # type: ignore[misc]


def test_every_setting_has_a_default():
    """A project names what it wants otherwise, and no more."""
    assert all(field.default is not None for field in fields(Settings))
