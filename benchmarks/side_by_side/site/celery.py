"""The site's Celery app, where a contender has one."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.side_by_side.site.settings")

if "django_celery_outbox" in settings.INSTALLED_APPS:
    from django_celery_outbox import OutboxCelery as Celery  # as its docs say

app = Celery("bench")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
