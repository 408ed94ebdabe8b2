"""What the workers of these tests run with: as a project would, but less patient."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.settings import *  # noqa: F403  # everything else is as in the other tests
from tests.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.brokers"]
RELIABLE_EFFECTS = {
    "TRANSPORT": "celery" if "BROKER" in os.environ else "none",
    "RELAY_PERIOD": timedelta(milliseconds=300),
    "RELAY_GRACE": timedelta(seconds=1),
    "RESCUE_PERIOD": timedelta(milliseconds=300),
    "LEASE_GRACE": timedelta(seconds=1),
    "PUBLISH_REST": timedelta(seconds=1),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"reliable_effects": {"handlers": ["console"], "level": "INFO"}},
}
