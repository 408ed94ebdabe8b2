"""A project's Celery app, as Celery's own documentation writes it."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("place", broker=os.environ["TEST_BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.autodiscover_tasks()
