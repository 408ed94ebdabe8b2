"""pytest loads the plugin in every project of an environment, so it must not be in anyone's way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from reliable_effects import testing
from reliable_effects.outbox import dispatch


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_plugin_loads_without_django_settings_and_without_a_warning():
    """It is imported before Django is set up, and where Django is not used at all."""
    run = run_python("import reliable_effects.testing.pytest_plugin")

    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.parametrize("name", testing.__all__)
def test_every_public_name_is_there(name):
    """They are looked up late, so a missing one would only be found by its users."""
    assert getattr(testing, name).__module__.startswith("reliable_effects.testing.")


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="run_effect'"):
        testing.run_effect  # noqa: B018  # looking it up is the test


def test_with_the_testing_module_auto_means_no_broker():
    """Tests must not wait for a broker that happens to be configured."""
    code = """
import celery, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["reliable_effects"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()
app = celery.Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=True)
app.set_default()
from reliable_effects.outbox import dispatch
print(dispatch.is_configured())
from reliable_effects.testing import run_effects
print(dispatch.is_configured())
"""

    assert run_python(code).stdout.split() == ["True", "False"]


def sent(_queue, _hint):
    """A transport of the project's own."""


def test_an_explicit_transport_wins_over_the_testing_module(settings):
    settings.RELIABLE_EFFECTS = {"TRANSPORT": f"{__name__}.sent"}
    assert testing.run_effects

    assert dispatch.is_configured()
