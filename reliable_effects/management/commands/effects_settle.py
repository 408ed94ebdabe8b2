"""Say what became of uncertain deliveries: `manage.py effects_settle --id 7 --happened --why …`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...conf import settings
from ...outbox import remedy
from ..person import agrees, who


class Command(BaseCommand):
    help = "Settle uncertain deliveries, or start deliveries anew under new keys. It asks first."

    def add_arguments(self, parser: CommandParser) -> None:
        said = parser.add_mutually_exclusive_group(required=True)
        said.add_argument(
            "--happened", dest="verb", action="store_const", const=remedy.HAPPENED,
            help="it happened: they end as succeeded",
        )  # fmt: skip
        said.add_argument(
            "--did-not-happen", dest="verb", action="store_const", const=remedy.NOT_HAPPENED,
            help="it did not: they run again under the same keys",
        )  # fmt: skip
        said.add_argument(
            "--start-anew", dest="verb", action="store_const", const=remedy.START_ANEW,
            help="what surely did not happen runs again under new keys",
        )  # fmt: skip
        parser.add_argument("--id", type=int, nargs="+", metavar="ID", required=True)
        parser.add_argument("--why", required=True, help="the reason, for the log and the signal")
        parser.add_argument(
            "--on-my-word", action="store_true",
            help="with --start-anew: I have looked at the partner, and none of them happened",
        )  # fmt: skip
        parser.add_argument(
            "--database", default=settings().databases[0], help="alias (default: %(default)s)"
        )
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, **options: Any) -> None:
        alias, verb, word = options["database"], options["verb"], options["on_my_word"]
        if alias not in settings().databases:
            raise CommandError(f"{alias!r} is not in RELIABLE_EFFECTS['DATABASES'].")
        if not options["why"].strip():
            raise CommandError("--why is empty; say why, for whoever reads the log.")
        if word and verb != remedy.START_ANEW:
            raise CommandError("--on-my-word goes with --start-anew only.")
        rows = remedy.of(alias, options["id"])
        expected = self._say(remedy.forecast(verb, rows, did_not_happen=word))
        if options["dry_run"] or not expected:
            self.stdout.write("Nothing was changed.")
            return
        if not options["yes"] and not agrees(f"Do it to {expected} deliveries?"):
            raise CommandError("Not confirmed; nothing was changed.")
        said = {"by": who("effects_settle"), "why": options["why"]}
        if verb == remedy.START_ANEW:
            changed = len(remedy.start_anew(rows, did_not_happen=word, **said))
        else:
            changed = len(remedy.settle(rows, happened=verb == remedy.HAPPENED, **said))
        self.stdout.write(self.style.SUCCESS(f"{changed} changed."))

    def _say(self, told: list[remedy.Forecast]) -> int:
        for group in told:
            what = f"left alone: {group.left_alone}" if group.left_alone else "will be changed"
            standing = f"{group.state.label} {group.reason}".strip()
            self.stdout.write(f"{group.count:>7}  {group.effect}  {standing}  {what}")
        return sum(group.count for group in told if not group.left_alone)
