"""Begin nothing new of an effect: `manage.py effects_pause shop.charge_card --why …`."""

from __future__ import annotations

from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...clock import read_clock
from ...conf import settings
from ...effects.registry import registry
from ...exceptions import BadPause, UnknownEffect
from ...outbox.pausing import pause
from ..person import who

_MOST_MINUTES = 365 * 24 * 60  # a year; longer than that it is no pause


class Command(BaseCommand):
    help = (
        "Pause an effect: what is under way ends, nothing new of it begins, nothing is lost."
        " Other effects go on. `effects_resume` ends the pause."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("effect", help="its name, or an alias of it")
        parser.add_argument("--why", required=True, help="the reason, for whoever finds it paused")
        parser.add_argument(
            "--minutes", type=int, help="then it goes on by itself; else until it is resumed"
        )
        parser.add_argument("--database", help="alias; every one of DATABASES where left out")

    def handle(self, **options: Any) -> None:
        minutes = options["minutes"]
        if minutes is not None and not 1 <= minutes <= _MOST_MINUTES:
            raise CommandError(
                f"--minutes is {minutes}; give 1 to {_MOST_MINUTES}, or leave it out."
            )
        for alias in chosen(options["database"]):
            until = minutes and read_clock(alias) + timedelta(minutes=minutes)
            try:
                pause(
                    options["effect"],
                    by=who("effects_pause"), why=options["why"], until=until, using=alias,
                )  # fmt: skip
            except UnknownEffect as error:
                raise unknown(options["effect"], error) from error
            except BadPause as error:
                raise CommandError(str(error)) from error
            lasts = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until it is resumed"
            self.stdout.write(f"{options['effect']} is paused on {alias}, {lasts}.")


def unknown(effect: str, error: UnknownEffect) -> CommandError:
    """What to say of *effect*, with the name that was meant, where one is near."""
    close = get_close_matches(effect, registry.effect_names(), n=1)
    return CommandError(f"{error} Did you mean {close[0]!r}?" if close else str(error))


def chosen(alias: str | None) -> tuple[str, ...]:
    """The aliases that --database means."""
    known = settings().databases
    if alias is None:
        return known
    if alias not in known:
        raise CommandError(f"{alias!r} is not in RELIABLE_EFFECTS['DATABASES'].")
    return (alias,)
