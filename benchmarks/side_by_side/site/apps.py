from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

# As a project's `__init__` does it, but here: the harness reads this package without Django.
if hasattr(settings, "CELERY_BROKER_URL"):
    from .celery import app as celery_app  # noqa: F401


class SiteConfig(AppConfig):
    name = "benchmarks.side_by_side.site"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"
