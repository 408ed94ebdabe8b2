from __future__ import annotations

from django.apps import AppConfig


class ReleaseConfig(AppConfig):
    name = "tests.faults.releases.today"
    label = "release"
