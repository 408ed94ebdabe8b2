"""Start up: find what every app declares, and open the way to the outbox."""

from __future__ import annotations

import sys
from importlib import import_module

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from .conf import INSTRUMENTS, NAME, settings
from .effects.registry import registry


class ReliableEffectsConfig(AppConfig):
    name = "reliable_effects"
    verbose_name = "Reliable effects"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks  # noqa: F401, PLC0415  # registers itself; models are loaded by now
        from .console.groups import erase as erase_samples  # noqa: PLC0415
        from .console.groups import grouping  # noqa: PLC0415
        from .console.redriving import halted, in_timeline  # noqa: PLC0415
        from .console.redriving import steps as redrive_steps  # noqa: PLC0415
        from .console.rollups import sweep as rollups  # noqa: PLC0415
        from .idempotency import erase as erase_answers  # noqa: PLC0415
        from .idempotency import sweeps as aging  # noqa: PLC0415
        from .inbox import prune as inbox_sweep  # noqa: PLC0415
        from .outbox.emit import OutboxWriter  # noqa: PLC0415
        from .outgoing import calls  # noqa: PLC0415
        from .outgoing.send import PartnerSender  # noqa: PLC0415
        from .reconcile import sweeps as owed_sweeps  # noqa: PLC0415
        from .reports import forget as report_readers  # noqa: PLC0415
        from .reports import sweeps as report_sweeps  # noqa: PLC0415
        from .schedule import erase, tick  # noqa: PLC0415
        from .schedule.jobs import JobWriter  # noqa: PLC0415
        from .watch import alerts  # noqa: PLC0415

        registry.use(OutboxWriter())
        registry.use_scheduler(JobWriter())
        registry.use_sender(PartnerSender())
        tick.register()
        erase.register()
        calls.register()
        owed_sweeps.register()
        aging.register()
        erase_answers.register()
        inbox_sweep.register()
        report_sweeps.register()
        report_readers.register()
        grouping.register()
        erase_samples.register()
        redrive_steps.register()
        halted.register()
        in_timeline.register()
        rollups.register()
        alerts.register()  # the last: a sweep that never ran yet is no alarm of a first turn
        # Events first: effects are declared on them. An import error is raised as it is.
        autodiscover_modules("events")
        autodiscover_modules("effects")
        for config in apps.get_app_configs():
            module = sys.modules.get(f"{config.name}.events")
            if module is not None:
                registry.read_annotations(module)
        _start_instruments()


def _start_instruments() -> None:
    """
    What INSTRUMENTS names, each from the one module that knows its library.

    Raises:
        ImproperlyConfigured: its library is not installed.
    """
    try:
        names = settings().instruments
    except ImproperlyConfigured:
        return  # a check says what is wrong, and all that is
    for name in names:
        try:
            module = import_module(INSTRUMENTS[name])
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{NAME}['INSTRUMENTS'] has {name!r}, and {error.name} cannot be imported."
                f" pip install django-reliable-effects[{name}]"
            ) from error
        module.start()
