"""End an effect's pause: `manage.py effects_resume shop.charge_card --why …`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...controls.models import EffectControl
from ...effects.registry import registry
from ...exceptions import UnknownEffect
from ...outbox.pausing import resume
from ..person import who
from .effects_pause import chosen, unknown


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
            was_paused = _is_paused(options["effect"], alias)
            try:
                count = resume(
                    options["effect"],
                    by=who("effects_resume"), why=options["why"], using=alias,
                )  # fmt: skip
            except UnknownEffect as error:
                raise unknown(options["effect"], error) from error
            now = "goes on" if was_paused else "was not paused"
            self.stdout.write(f"{options['effect']} {now}, on {alias}: {count} brought back.")


def _is_paused(name: str, using: str) -> bool:
    names = registry.names_like(name)
    return EffectControl.objects.using(using).paused().filter(effect__in=names).exists()
