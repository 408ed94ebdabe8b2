"""The tests' settings with a user model of the project's own, for a process of its own."""

from __future__ import annotations

from tests.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.console.permissions.members"]  # noqa: F405
AUTH_USER_MODEL = "members.Member"
