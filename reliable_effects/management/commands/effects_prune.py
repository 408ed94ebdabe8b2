"""Delete now what the sweep would delete by and by: `manage.py effects_prune --dry-run`."""

from __future__ import annotations

from time import monotonic
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...conf import settings
from ...outbox.prune import Pruned, prune_all
from ...outbox.states import State

_TOLD_EVERY = 5.0  # seconds


class Command(BaseCommand):
    help = (
        "Delete deliveries and events that have ended and were kept long enough (RETENTION),"
        " in small batches, until there are none left. It may be stopped at any time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--database", help="alias; every one that is swept where left out")

    def handle(self, **options: Any) -> None:
        chosen = options["database"]
        if chosen is not None and chosen not in settings().databases:
            raise CommandError(f"{chosen!r} is not in RELIABLE_EFFECTS['DATABASES'].")
        for alias in [chosen] if chosen is not None else settings().databases:
            self._prune(alias, dry_run=options["dry_run"])
        if options["dry_run"]:
            self.stdout.write("Nothing was changed.")

    def _prune(self, alias: str, *, dry_run: bool) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"database {alias}"))
        told = monotonic()

        def tell(so_far: Pruned) -> None:
            nonlocal told
            if monotonic() - told > _TOLD_EVERY:
                told = monotonic()
                gone = so_far.deleted.total() + so_far.events
                self.stderr.write(f"looked at {so_far.seen} rows, {gone} of them may go")

        pruned = prune_all(alias, dry_run=dry_run, tell=tell)
        became = "will be deleted" if dry_run else "deleted"
        for fate, kinds in ((became, pruned.deleted), ("kept: still owed", pruned.owed)):
            for (effect, state, reason), count in sorted(kinds.items()):
                self._say(count, f"{effect}  {_standing(state, reason)}  {fate}")
        if pruned.events:
            self._say(pruned.events, f"events for which nothing is owed  {became}")
        if not (pruned.deleted or pruned.owed or pruned.events):
            self.stdout.write("  nothing is old enough")

    def _say(self, count: int, what: str) -> None:
        self.stdout.write(f"{count:>9}  {what}")


def _standing(state: State, reason: str) -> str:
    return f"{state.label} {reason}".strip()
