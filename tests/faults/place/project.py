"""
Settings of child processes whose default database a test names: tests/faults/place/aliases.py.

Short leases and quick sweeps, so that what has to come again comes soon.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta

from tests.settings import *  # noqa: F403  # everything else is as in the other tests
from tests.settings import DATABASES, INSTALLED_APPS

DATABASES = DATABASES | json.loads(os.environ.get("TEST_ALIASES", "{}"))
if "TEST_ELSEWHERE" in os.environ:
    DATABASES["default"] = json.loads(os.environ["TEST_ELSEWHERE"])
INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.place"]
TIME_ZONE = os.environ.get("TEST_TIME_ZONE", "UTC")
RELIABLE_EFFECTS = {
    "TRANSPORT": "celery" if "TEST_BROKER" in os.environ else "none",
    "DATABASES": os.environ.get("TEST_SWEPT", "default").split(),
    "LEASE_GRACE": timedelta(seconds=2),
    "RESCUE_PERIOD": timedelta(milliseconds=300),
    "RELAY_GRACE": timedelta(seconds=1),
    "RELAY_PERIOD": timedelta(milliseconds=300),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"reliable_effects": {"handlers": ["console"], "level": "INFO"}},
}
