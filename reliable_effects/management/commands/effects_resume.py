"""End an effect's pause: `manage.py effects_resume shop.charge_card --why …`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...exceptions import UnknownEffect
from ...outbox.pausing import resume
from ..person import who
from .effects_pause import chosen


class Command(BaseCommand):
    help = "Let a paused effect go on, and bring back at once what waited for it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("effect", help="its name, or an alias of it")
        parser.add_argument("--why", required=True, help="the reason, for the log")
        parser.add_argument("--database", help="alias; every one of DATABASES where left out")

    def handle(self, **options: Any) -> None:
        if not options["why"].strip():
            raise CommandError("--why is empty; say why, for whoever reads the log.")
        for alias in chosen(options["database"]):
            try:
                count = resume(
                    options["effect"],
                    by=who("effects_resume"), why=options["why"], using=alias,
                )  # fmt: skip
            except UnknownEffect as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"{options['effect']} goes on, on {alias}: {count} brought back.")
