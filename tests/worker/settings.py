"""What the worker processes of these tests run with: short leases, and effects that kill."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.settings import *  # noqa: F403  # everything else is as in the other tests
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.worker"]
RELIABLE_EFFECTS = {
    "TRANSPORT": "celery" if "TEST_BROKER" in os.environ else "none",
    "LEASE_GRACE": timedelta(seconds=1),
    "RESCUE_PERIOD": timedelta(milliseconds=300),
    "RELAY_GRACE": timedelta(seconds=1),
    "RELAY_PERIOD": timedelta(milliseconds=300),
    "MAX_KILLS": 2,
}
LOGGING = {
    "version": 1,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"reliable_effects": {"handlers": ["console"], "level": "INFO"}},
}
