from __future__ import annotations

from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "benchmarks.side_by_side.site"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"
