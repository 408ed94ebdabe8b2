"""
A project's Celery app, with the project's own default queue and none of our settings.

TEST_CELERY may hold settings that a project has for its own tasks, as JSON.
"""

from __future__ import annotations

import json
import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.worker.settings")

app = Celery("project", broker=os.environ["TEST_BROKER"])
app.conf.broker_connection_retry_on_startup = True
app.conf.update(json.loads(os.environ.get("TEST_CELERY", "{}")))
app.autodiscover_tasks()
