"""A process of one release."""

from __future__ import annotations

import os
from datetime import timedelta

import reliable_effects
from tests.settings import *  # noqa: F403  # everything else is as in the other tests
from tests.settings import INSTALLED_APPS

print(f"package: {reliable_effects.__file__}", flush=True)  # noqa: T201  # the tests look at it
# Without what the release before has no base for.
shared = [app for app in INSTALLED_APPS if app != "tests.trials"]
INSTALLED_APPS = [*shared, f"tests.faults.releases.{os.environ['RELEASE']}"]
RELIABLE_EFFECTS = {
    "TRANSPORT": "none",
    "RELAY_GRACE": timedelta(seconds=1),
    "RELAY_PERIOD": timedelta(milliseconds=300),
    "RESCUE_PERIOD": timedelta(milliseconds=300),
}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"reliable_effects": {"handlers": ["console"], "level": "WARNING"}},
}
