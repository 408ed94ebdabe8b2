from __future__ import annotations

from django.apps import AppConfig


class DatabasesConfig(AppConfig):
    name = "tests.faults.databases"
    label = "faults_of_databases"
