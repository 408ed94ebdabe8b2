"""How the outbox stands: `manage.py effects_status`, for people, programs and monitors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...clock import spoken
from ...conf import settings
from ...console.timeline.why import why
from ...outbox import remedy
from ...reconcile.findings import Finding
from ...reconcile.models import Tier
from ...watch import rules, status
from ...watch.looking import Looks
from ...watch.status import Database, shown

_PATIENCE = 5.0  # seconds for all databases: a monitor that waits for one that hangs says nothing


class Command(BaseCommand):
    help = (
        "Show the backlog by queue, the sweeps and what waits for a person."
        f" Counts end at {status.COUNT_AT_MOST:,}."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs; spans in seconds")
        parser.add_argument(
            "--check", action="store_true", help="exit with 1 where something needs a person"
        )
        parser.add_argument(
            "--late-after",
            type=int,
            default=None,
            metavar="SECONDS",
            help="a delivery that has been due for longer needs a person (default: ALERT_LATE_AFTER)",
        )

        parser.add_argument(
            "--delivery", type=int, metavar="ID", help="say of this one why it is not running"
        )

    def handle(self, **options: Any) -> None:
        if options["delivery"] is not None:
            self._say_why(options["delivery"], as_json=options["json"])
            return
        seconds = options["late_after"]
        late_after = None if seconds is None else timedelta(seconds=seconds)
        databases = [
            asked if asked.problem else status.of(asked.alias, late_after=late_after)
            for asked in Looks(status.can_be_read).at(settings().databases, _PATIENCE)
        ]
        needs = rules.needs_a_person(databases)
        carried_by = status.transport()
        if carried_by.startswith("broken"):
            needs.insert(0, f"transport {carried_by}")
        if options["json"]:
            self.stdout.write(_as_json(databases, needs, carried_by))
        else:
            self._print(databases, needs, carried_by)
        if options["check"] and needs:
            raise SystemExit(1)

    def _say_why(self, pk: int, *, as_json: bool) -> None:
        aliases = settings().databases
        found = [row for alias in aliases for row in remedy.of(alias, [pk])]
        if not found:
            raise CommandError(f"No delivery has the id {pk} on {', '.join(aliases)}.")
        told = [(row, why(row)) for row in found]
        if as_json:
            answers = [
                {
                    "database": row._state.db,
                    "delivery": pk,
                    "effect": row.effect,
                    "kind": answer.kind,
                    "sentence": answer.sentence,
                }
                for row, answer in told
            ]
            self.stdout.write(json.dumps(answers, indent=2))
            return
        for row, answer in told:
            self.stdout.write(f"{row} on {row._state.db}: {answer.sentence}")

    def _print(self, databases: list[Database], needs: list[str], carried_by: str) -> None:
        write = self.stdout.write
        write(f"transport: {carried_by}")
        for database in databases:
            write("")
            write(self.style.MIGRATE_HEADING(f"database {database.alias}"))
            if database.problem:
                write(f"  {database.problem}")
                continue
            for part in (_queues, _paused, _sweeps, _jobs, _debts, _set_aside):
                lines = part(database)
                for line in (*lines, "") if lines else ():
                    write(f"  {line}".rstrip())
            if database.lost_leases:
                write(f"  {shown(database.lost_leases)} running past their lease: rescue is due")
        write("")
        if not needs:
            write(self.style.SUCCESS("nothing needs a person"))
            return
        write(self.style.WARNING("needs a person"))
        for line in needs:
            write(f"  {line}")


def _queues(database: Database) -> list[str]:
    return _table(
        ("queue", "due", "oldest", "retrying", "later", "running", "last claim", ""),
        [
            (
                queue.name, shown(queue.due), _ago(queue.oldest_due, ""), shown(queue.retrying),
                shown(queue.later), shown(queue.running), _ago(queue.last_claim, "never"),
                "" if queue.is_consumed else "NOBODY CONSUMES IT",
            )
            for queue in database.queues
        ],
    )  # fmt: skip


def _paused(database: Database) -> list[str]:
    rows = [
        (
            paused.effect, shown(paused.waiting), spoken(paused.age), _ago(paused.ends_in, "never"),
            f"{paused.by}: {paused.why}",
        )
        for paused in database.paused
    ]  # fmt: skip
    return _table(("paused", "waiting", "since", "ends in", ""), rows) if rows else []


def _sweeps(database: Database) -> list[str]:
    return _table(
        ("sweep", "ran", "seen", "done", ""),
        [
            (
                sweep.name, _ago(sweep.age, "never"), str(sweep.seen), str(sweep.done),
                " ".join(
                    word
                    for word, holds in (
                        ("STALE", sweep.is_stale),
                        ("SEES NOTHING", sweep.silence is not None),
                        (_cut_short(sweep.truncated_runs), sweep.truncated),
                    )
                    if holds
                ),
            )
            for sweep in database.sweeps
        ],
    )  # fmt: skip


def _jobs(database: Database) -> list[str]:
    rows = [
        (
            jobs.table, shown(jobs.late), _ago(jobs.oldest_late, ""), shown(jobs.blocked),
            shown(jobs.missed), "",
        )
        for jobs in database.jobs
    ]  # fmt: skip
    return _table(("jobs", "late", "oldest", "blocked", "missed", ""), rows)


def _debts(database: Database) -> list[str]:
    rows = [
        (
            f"owed to {debts.effect}{', recent' if debts.tier == Tier.RECENT else ''}",
            _ago(debts.age, "never"),
            *(
                str(debts.found.get(kind, 0))
                for kind in (Finding.UNACCOUNTED, Finding.CONTRADICTION)
            ),
            "FAILED" if debts.problem else "OVERDUE" if debts.is_overdue else "",
        )
        for debts in database.debts
    ]
    heads = ("what is owed", "walked", "unaccounted", "contradicted", "")
    return _table(heads, rows) if rows else []


def _set_aside(database: Database) -> list[str]:
    rows = [
        ("poisoned " + effect, shown(count), _ago(database.oldest_poisoned.get(effect), ""), reason)
        for (effect, reason), count in sorted(database.poisoned.items())
    ]
    rows += [
        ("uncertain " + effect, shown(count), "", "needs a person")
        for effect, count in sorted(database.uncertain.items())
    ]
    return _table(("set aside", "rows", "oldest", ""), rows) if rows else []


def _cut_short(runs: int) -> str:
    return "cut short" if runs <= 1 else f"cut short {runs} times running"


def _ago(span: timedelta | None, never: str) -> str:
    return never if span is None else spoken(span)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they need to be; the first and the last to the left, numbers to the right."""
    lines = [heads, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    edges = (0, len(heads) - 1)
    return [
        "  ".join(
            cell.ljust(widths[place]) if place in edges else cell.rjust(widths[place])
            for place, cell in enumerate(line)
        )
        for line in lines
    ]


def _as_json(databases: list[Database], needs: list[str], carried_by: str) -> str:
    told = []
    for database in databases:
        facts = asdict(database)
        facts["poisoned"] = [
            {"effect": effect, "reason": reason, "count": count}
            for (effect, reason), count in database.poisoned.items()
        ]
        facts["uncertain"] = [
            {"effect": effect, "count": count} for effect, count in database.uncertain.items()
        ]
        facts["oldest_poisoned"] = [
            {"effect": effect, "age": age} for effect, age in database.oldest_poisoned.items()
        ]
        told.append(facts)
    return json.dumps(
        {
            "transport": carried_by,
            "counts_end_at": status.COUNT_AT_MOST,
            "needs_a_person": needs,
            "databases": told,
        },
        default=lambda span: span.total_seconds(),
        indent=2,
    )
