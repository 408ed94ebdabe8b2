"""What the Celery workers of these tests run with: as a project would, but less patient."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.settings import *  # noqa: F403  # everything else is as in the other tests

CELERY_BROKER_URL = os.environ["BROKER"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_DEFAULT_QUEUE = "the-projects-own"
RELIABLE_EFFECTS = {
    "TRANSPORT": "auto",
    "RELAY_GRACE": timedelta(seconds=int(os.environ["RELAY_GRACE"])),
}
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"console": {"class": "logging.StreamHandler"}},
    "loggers": {"reliable_effects": {"handlers": ["console"], "level": "WARNING"}},
}
