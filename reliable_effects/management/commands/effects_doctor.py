"""What checks cannot see: `manage.py effects_doctor`, on a machine that runs the project."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ...conf import settings
from ...watch.doctor import Fact, Severity, examine, payloads
from ...watch.doctor.payloads import Group


class Command(BaseCommand):
    help = (
        "Ask the databases and the broker what system checks cannot know, and look at samples of"
        " rows. Changes nothing; exits with 1 where something is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="for programs")
        parser.add_argument(
            "--payloads",
            action="store_true",
            help="before a deploy, with the new code: read every row that may still run, and list"
            " those that this release could not carry out",
        )

    def handle(self, **options: Any) -> None:
        if options["payloads"]:
            is_wrong = self._payloads(as_json=options["json"])
        else:
            is_wrong = self._facts(as_json=options["json"])
        if is_wrong:
            raise SystemExit(1)

    def _facts(self, *, as_json: bool) -> bool:
        facts = list(examine())
        if as_json:
            self.stdout.write(json.dumps([asdict(fact) for fact in facts], indent=2))
        else:
            for fact in facts:
                self._print(fact)
        return any(fact.severity is Severity.WRONG for fact in facts)

    def _print(self, fact: Fact) -> None:
        style = {
            Severity.WRONG: self.style.ERROR,
            Severity.DOUBTFUL: self.style.WARNING,
            Severity.FINE: self.style.SUCCESS,
        }[fact.severity]
        self.stdout.write(f"{style(fact.severity.ljust(8))}  {fact.about}: {fact.fact}")
        if fact.next_step:
            self.stdout.write(f"{'':10}{fact.next_step}")

    def _payloads(self, *, as_json: bool) -> bool:
        found = {alias: payloads.scan(alias, self._progress) for alias in settings().databases}
        if as_json:
            told = [
                {"database": alias, **asdict(group)}
                for alias, groups in found.items()
                for group in groups
            ]
            self.stdout.write(json.dumps(told, indent=2, default=str))
        else:
            for alias, groups in found.items():
                self._print_groups(alias, groups)
        return any(found.values())

    def _print_groups(self, alias: str, groups: list[Group]) -> None:
        if not groups:
            self.stdout.write(f"database {alias}: this release can carry out every row")
        for group in sorted(groups, key=lambda group: -group.count):
            ids = ", ".join(map(str, group.ids))
            more = ", …" if group.count > len(group.ids) else ""
            self.stdout.write(
                f"database {alias}: {group.what} {group.name}: {group.problem}: {group.count}"
                f" ({ids}{more})"
            )

    def _progress(self, read: int) -> None:
        self.stderr.write(f"{read:,} rows read")
