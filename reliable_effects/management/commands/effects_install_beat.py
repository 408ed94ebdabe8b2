"""Let beat run the sweeps: rows for django-celery-beat, or lines for a plain beat (`--print`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import router, transaction

from ...outbox.sweeps import tasks

_EXPIRY = timedelta(minutes=1)  # so that turns do not pile up on a queue without workers


class Command(BaseCommand):
    help = (
        "Write the sweeps' periodic tasks for django-celery-beat. Run it as often as you like:"
        " what is there already is kept as people made it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--print", action="store_true", help="print the lines for a plain beat; write nothing"
        )

    def handle(self, **options: Any) -> None:
        if options["print"]:
            self._print_lines()
            return
        if not apps.is_installed("django_celery_beat"):
            raise CommandError(
                "django_celery_beat is not in INSTALLED_APPS."
                " pip install 'django-reliable-effects[beat]', add it and migrate;"
                " or use --print for the lines of a plain beat."
            )
        for task, period in tasks().items():
            self._install(task, period)

    def _install(self, task: str, period: timedelta) -> None:
        beat: Any = apps.get_app_config("django_celery_beat")
        rows, intervals = beat.get_model("PeriodicTask"), beat.get_model("IntervalSchedule")
        with transaction.atomic(using=router.db_for_write(rows)):
            there = rows.objects.filter(task=task).first() or rows.objects.filter(name=task).first()
            if there is not None:
                state = "enabled" if there.enabled else "disabled"
                self.stdout.write(f"kept     {task}: {there.schedule}, {state}")
                return
            # Not get_or_create: nothing keeps people from making the same interval twice.
            every = {"every": _seconds(period), "period": intervals.SECONDS}
            interval = intervals.objects.filter(**every).first()
            rows.objects.create(
                name=task,
                task=task,
                interval=interval or intervals.objects.create(**every),
                expire_seconds=_seconds(max(_EXPIRY, period)),
                description="A sweep of reliable_effects. Yours to change: it is never overwritten.",
            )
        self.stdout.write(self.style.SUCCESS(f"written  {task}: every {_seconds(period)} s"))

    def _print_lines(self) -> None:
        self.stdout.write("CELERY_BEAT_SCHEDULE = {")
        for task, period in tasks().items():
            expires = _seconds(max(_EXPIRY, period))
            self.stdout.write(
                f'    "{task}": {{\n'
                f'        "task": "{task}",\n'
                f'        "schedule": {_seconds(period)},  # seconds\n'
                f'        "options": {{"expires": {expires}}},\n'
                "    },"
            )
        self.stdout.write("}")


def _seconds(period: timedelta) -> int:
    """Whole seconds: beat's intervals know no fractions, and a turn too many is none."""
    return max(1, int(period.total_seconds()))
