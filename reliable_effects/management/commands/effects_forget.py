"""Forget a person: `manage.py effects_forget shop.User:42 --why "request of 3 May"`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...conf import settings
from ...outbox.forget import Forgotten, forget, named
from ..person import agrees, who

_NAMED = 20  # deliveries, one by one


class Command(BaseCommand):
    help = (
        "Blank the payloads and error texts that are kept about one or more subjects; rows, states"
        " and keys stay. It says what it will do, and asks. Exits with 1 where something is left."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("subject", nargs="+", help="a row, written like shop.User:42")
        parser.add_argument("--why", required=True, help="the reason, for the log")
        parser.add_argument(
            "--even-pending",
            action="store_true",
            help="cancel what waits, and blank it too; left alone where left out",
        )
        parser.add_argument("--database", help="alias; every one that is swept where left out")
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, **options: Any) -> None:
        aliases = settings().databases
        if options["database"]:
            if options["database"] not in aliases:
                raise CommandError(
                    f"{options['database']!r} is not in RELIABLE_EFFECTS['DATABASES']."
                )
            aliases = (options["database"],)
        if not options["why"].strip():
            raise CommandError("--why is empty; say why, for whoever reads the log.")
        # All of them are looked up before the first is touched.
        wanted = [pair for subject in options["subject"] for pair in _found(subject, aliases)]
        asked = {
            "why": options["why"],
            "by": who("effects_forget"),
            "even_pending": options["even_pending"],
        }
        told = [forget(s, using=alias, dry_run=True, **asked) for alias, s in wanted]
        for (alias, subject), forecast in zip(wanted, told, strict=True):
            self._say(alias, subject, forecast)
        if options["dry_run"] or not any(map(_changes, told)):
            self.stdout.write("Nothing was changed.")
        elif not options["yes"] and not agrees("This cannot be undone. Forget them?"):
            raise CommandError("Not confirmed; nothing was changed.")
        else:
            told = [forget(s, using=alias, **asked) for alias, s in wanted]
            blanked = sum(map(_changes, told))
            self.stdout.write(self.style.SUCCESS(f"{blanked} rows blanked."))
        if not all(forgotten.is_complete for forgotten in told):
            self.stderr.write(
                "Something is left, see above. Run this again when it has ended,"
                " or give up what waits with --even-pending."
            )
            raise SystemExit(1)

    def _say(self, alias: str, subject: str, forgotten: Forgotten) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(f"{subject} on {alias}"))
        for count, what in (
            (forgotten.events, "payloads of events"),
            (forgotten.attempts, "error texts of attempts"),
            (forgotten.notes, "notes of deliveries"),
            (forgotten.edits, "edited payloads"),
            *((share.blanked, table) for table, share in forgotten.others.items()),
        ):
            self.stdout.write(f"{count:>7}  {what}")
        if forgotten.cancelled:
            self.stdout.write(f"{forgotten.cancelled:>7}  deliveries that wait, to be cancelled")
        if forgotten.poisoned:
            self.stdout.write(
                f"{forgotten.poisoned:>7}  of its deliveries are poisoned, and could not be"
                " redriven any more"
            )
        if forgotten.left_in_all:
            self.stdout.write(f"{forgotten.left_in_all:>7}  deliveries left alone: they must run")
        for left in forgotten.left[:_NAMED]:
            self.stdout.write(f"{'':>9}{left.effect} #{left.id}  {left.state.label}")
        for table, share in forgotten.others.items():
            if share.left:
                self.stdout.write(f"{share.left:>7}  {table} left alone")


def _found(subject: str, aliases: Sequence[str]) -> list[tuple[str, str]]:
    """Where *subject* is known: a model that is gone may have left rows on one database only."""
    found, problems = [], []
    for alias in aliases:
        try:
            named(subject, alias)
        except ValueError as problem:
            problems.append(str(problem))
        else:
            found.append((alias, subject))
    if not found:
        raise CommandError(problems[0])
    return found


def _changes(forgotten: Forgotten) -> int:
    others = sum(share.blanked for share in forgotten.others.values())
    texts = forgotten.events + forgotten.edits + forgotten.attempts + forgotten.notes
    return texts + forgotten.cancelled + others
