"""The project's Celery app."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.databases.settings")

app = Celery("project", broker=os.environ["TEST_BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.autodiscover_tasks()
