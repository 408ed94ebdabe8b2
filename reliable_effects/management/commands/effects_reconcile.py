"""Find what is owed and nobody promised: `manage.py effects_reconcile shop.charge_card --dry-run`."""

from __future__ import annotations

from datetime import datetime, time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from ...conf import settings
from ...effects.effect import Effect
from ...effects.registry import registry
from ...outbox.reconnect import mend
from ...reconcile.by_hand import Survey, mend_all, span_since, survey
from ...reconcile.findings import Finding
from ...reconcile.owing import Span
from ...reconcile.sweeps import owed_effects
from ..person import agrees

Surveys = dict[str, tuple[Effect[Any, Any], Span, Survey]]

_PROGRESS_EVERY = 100_000  # rows


class Command(BaseCommand):
    help = (
        "Ask the owed queries what is owed, and promise what nobody has promised. It says what it"
        " found and what it would do, and asks before it acts."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("effect", nargs="?", help="this one only; default: each with a query")
        parser.add_argument(
            "--since",
            metavar="WHEN",
            help="only what is owed since then: 2026-11-28, or an instant",
        )
        parser.add_argument(
            "--database", default=settings().databases[0], help="alias (default: %(default)s)"
        )
        parser.add_argument(
            "--limit", type=int, default=1000, metavar="N",
            help="promise at most so many for each effect; 0: all of them (default: %(default)s)",
        )  # fmt: skip
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, **options: Any) -> None:
        using = options["database"]
        if using not in settings().databases:
            raise CommandError(f"{using!r} is not in RELIABLE_EFFECTS['DATABASES'].")
        if options["limit"] < 0:
            raise CommandError("--limit is below 0; 0 promises all.")
        since = _instant(options["since"])
        effects = _chosen(using, options["effect"])
        limit = options["limit"] or 2**62
        surveys = {}
        failed = []
        for effect in effects:
            span = span_since(effect, using, since)
            try:
                surveys[effect.name] = (effect, span, self._look(effect, using, span))
            except Exception as error:  # noqa: BLE001  # the query is the project's
                mend(using)
                failed.append(effect.name)
                self.stdout.write(self.style.ERROR(f"  failed: {type(error).__name__}: {error}"))
        self._act(using, surveys, limit, options)
        if failed:
            raise CommandError(f"What is owed to {', '.join(failed)} could not be asked.")

    def _act(self, using: str, surveys: Surveys, limit: int, options: dict[str, Any]) -> None:
        wanted = sum(min(known.to_mend.total(), limit) for _, _, known in surveys.values())
        if options["dry_run"] or not wanted:
            self.stdout.write("Nothing was changed.")
            return
        if not options["yes"] and not agrees(f"Promise or reopen {wanted:,}?"):
            raise CommandError("Not confirmed; nothing was changed.")
        for effect, span, known in surveys.values():
            if known.to_mend:
                self._mend(effect, using, span, known, limit)

    def _look(self, effect: Effect[Any, Any], using: str, span: Span) -> Survey:
        self.stdout.write(self.style.MIGRATE_HEADING(effect.name))
        known, told = Survey(), 0
        for known in survey(effect, using, span):
            if known.seen - told >= _PROGRESS_EVERY:
                told = known.seen
                self.stdout.write(f"  … {told:,} rows")
        if not known.seen:
            self.stdout.write("  nothing is owed past its grace")
        for finding in Finding:
            if count := known.found[finding]:
                what = _plan(finding, known.to_mend[finding], count)
                self.stdout.write(f"  {count:>9,}  {finding}: {finding.label}{what}")
        return known

    def _mend(
        self, effect: Effect[Any, Any], using: str, span: Span, known: Survey, limit: int
    ) -> None:
        done = 0
        for done in mend_all(effect, using, span, limit):
            self.stdout.write(f"  … {done:,}", ending="\r" if self.stdout.isatty() else "\n")
        self.stdout.write(self.style.SUCCESS(f"{effect.name}: {done:,} promised or reopened."))
        left = known.to_mend.total() - done
        if left > 0 and done >= limit:
            self.stdout.write(f"{left:,} are left: cut short by --limit. Run it again.")
        elif left > 0:
            self.stdout.write(f"{left:,} had changed meanwhile, or could not be: see the log.")


def _plan(finding: Finding, to_mend: int, count: int) -> str:
    verb = {
        Finding.UNACCOUNTED: "will be promised",
        Finding.ORPHANED: "will get an event",
        Finding.OWED_AGAIN: "will run again",
        Finding.CONTRADICTION: "will be reopened, or set aside after the last time",
    }.get(finding)
    if verb is None or not to_mend:
        return ""
    return f" → {verb}" if to_mend == count else f" → {to_mend:,} {verb}"


def _chosen(using: str, name: str | None) -> list[Effect[Any, Any]]:
    owed = owed_effects(using)
    if name is None:
        return owed
    known = registry.find_effect(name)
    if known is None:
        names = ", ".join(sorted(effect.name for effect in owed)) or "none"
        raise CommandError(f"No effect {name!r} is declared. With an owed query: {names}.")
    if known not in owed:
        raise CommandError(
            f"{name!r} has no owed query on {using!r}; declare one with"
            f" @{known.function.__name__}.owed(…)."
        )
    return [known]


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)) is not None:
            found = datetime.combine(day, time())  # made aware below
    except ValueError as error:
        raise CommandError(f"--since {text!r}: {error}.") from error
    if found is None:
        raise CommandError(f"--since {text!r} is no instant; write 2026-11-28 or 2026-11-28T14:00.")
    return found if timezone.is_aware(found) else timezone.make_aware(found)
