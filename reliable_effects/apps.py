"""Start up: find what every app declares, and open the way to the outbox."""

from __future__ import annotations

import sys

from django.apps import AppConfig, apps
from django.utils.module_loading import autodiscover_modules

from .conf import settings
from .effects.registry import registry


class ReliableEffectsConfig(AppConfig):
    name = "reliable_effects"
    verbose_name = "Reliable effects"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415  # registers itself; models are loaded by now
        from .outbox import sweeps  # noqa: PLC0415
        from .outbox.emit import OutboxWriter  # noqa: PLC0415
        from .watch import alerts  # noqa: PLC0415

        registry.use(OutboxWriter())
        # After every other sweep: each has run once before anybody is told that it never did.
        sweeps.add(alerts.ALERTS, lambda: settings().alert_period, alerts.evaluate)
        # Events first: effects are declared on them. An import error is raised as it is.
        autodiscover_modules("events")
        autodiscover_modules("effects")
        for config in apps.get_app_configs():
            module = sys.modules.get(f"{config.name}.events")
            if module is not None:
                registry.read_annotations(module)
