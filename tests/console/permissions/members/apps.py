from __future__ import annotations

from django.apps import AppConfig


class MembersConfig(AppConfig):
    name = "tests.console.permissions.members"
    label = "members"
