"""A project's Celery app, as Celery's own documentation writes it."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.faults.brokers.settings")

app = Celery("project", broker=os.environ["BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.autodiscover_tasks()
