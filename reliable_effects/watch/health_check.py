"""
The same question for projects with django-health-check 4, an extra of ours (`health`).

    HealthCheckView.as_view(checks=["health_check.Database", "reliable_effects.watch.health_check.Effects"])
"""

from __future__ import annotations

import dataclasses

from django.db import connections
from health_check.base import HealthCheck
from health_check.exceptions import ServiceUnavailable

from . import health


@dataclasses.dataclass
class Effects(HealthCheck):  # type: ignore[misc]  # an extra that is not typed
    """Are effects being carried out?"""

    def run(self) -> None:
        try:
            problems = health.look().problems
        finally:
            connections.close_all()  # the thread is some executor's, and no request ends in it
        if problems:
            raise ServiceUnavailable("; ".join(problems))
