from __future__ import annotations

import os

from django.apps import AppConfig

if "TEST_BROKER" in os.environ:
    # As a project's __init__ does, so that its web processes find the broker.
    from . import celery_app  # noqa: F401


class DatabasesConfig(AppConfig):
    name = "tests.faults.databases"
    label = "faults_of_databases"
