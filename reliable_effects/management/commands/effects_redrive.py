"""Run again what was set aside: `manage.py effects_redrive --effect shop.charge_card --why …`."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ...clock import spoken
from ...conf import FASTEST_REDRIVE, settings
from ...console.redriving import operations
from ...console.redriving.preview import preview
from ...console.redriving.ramp import takes
from ...console.redriving.selection import BadSelection, Selection
from ...effects.registry import registry
from ...outbox import remedy
from ...outbox.models import Delivery, DeliveryQuerySet
from ...outbox.states import REDRIVABLE, Reason, State
from ..person import agrees, who

_CHUNK = 500
_LIMIT = 10_000
_STATES = {state.name.lower(): state for state in REDRIVABLE}


class Command(BaseCommand):
    help = "Redrive deliveries: poisoned ones, or what the options name. It asks before it acts."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--why", required=True, help="the reason, for the log and the signal")
        parser.add_argument("--effect", help="of this effect only; aliases are found as well")
        parser.add_argument(
            "--reason", type=str.upper, choices=[r.value for r in Reason if r], metavar="REASON",
            help="one of %(choices)s",
        )  # fmt: skip
        parser.add_argument(
            "--state", choices=sorted(_STATES), help="default: poisoned; with --id any of these"
        )
        parser.add_argument("--id", type=int, nargs="+", metavar="ID", help="these deliveries")
        parser.add_argument(
            "--database", default=settings().databases[0], help="alias (default: %(default)s)"
        )
        parser.add_argument(
            "--limit", type=int, default=_LIMIT, help="at most so many, oldest first (%(default)s)"
        )
        parser.add_argument(
            "--gradually",
            action="store_true",
            help="begin an operation that the sweep carries on: a canary first, then faster",
        )
        parser.add_argument(
            "--rate", type=int, help="with --gradually: released in a minute, at most"
        )
        parser.add_argument(
            "--canary", type=int, help="with --gradually: so many have to end before others follow"
        )
        parser.add_argument("--dry-run", action="store_true", help="say it, and do nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, **options: Any) -> None:
        alias = options["database"]
        if alias not in settings().databases:
            raise CommandError(f"{alias!r} is not in RELIABLE_EFFECTS['DATABASES'].")
        if not options["why"].strip():
            raise CommandError("--why is empty; say why, for whoever reads the log.")
        if options["gradually"]:
            self._gradually(alias, options)
            return
        if options["rate"] is not None or options["canary"] is not None:
            raise CommandError(
                "--rate and --canary are for --gradually; add it, or leave them out."
            )
        rows = _chosen(alias, options)
        limit = max(options["limit"], 0)
        ids = list(rows.order_by("pk").values_list("pk", flat=True)[: limit + 1])
        ids, cut = ids[:limit], len(ids) > limit
        expected = self._say(remedy.forecast("redrive", remedy.of(alias, ids)))
        if cut:
            self.stdout.write(f"More than {limit} match; this takes the oldest. Run it again.")
        if options["dry_run"] or not expected:
            self.stdout.write("Nothing was changed.")
            return
        if not options["yes"] and not agrees(f"Redrive {expected} deliveries?"):
            raise CommandError("Not confirmed; nothing was changed.")
        changed = sum(
            len(
                remedy.redrive(
                    remedy.of(alias, chunk), by=who("effects_redrive"), why=options["why"]
                )
            )
            for chunk in (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))
        )
        self.stdout.write(self.style.SUCCESS(f"{changed} redriven."))
        if changed < expected:
            self.stdout.write(f"{expected - changed} had changed meanwhile and were left alone.")

    def _gradually(self, alias: str, options: dict[str, Any]) -> None:
        if options["limit"] != _LIMIT:
            raise CommandError("--limit is not for --gradually, which takes all that match.")
        known = settings()
        rate = options["rate"] if options["rate"] is not None else known.redrive_rate
        canary = options["canary"]
        if canary is None:
            canary = min(known.redrive_canary, rate)
        if not 1 <= canary <= rate <= FASTEST_REDRIVE:
            raise CommandError(f"1 <= --canary <= --rate <= {FASTEST_REDRIVE} is needed.")
        try:
            selection = _selection(alias, options)
        except BadSelection as error:
            raise CommandError(str(error)) from error
        told = preview(selection, alias)
        self.stdout.write(f"{selection.in_words()}: {told.size}. Asked about {told.asked}:")
        for row in told.rows:
            self.stdout.write(f"{row.count:>7}  {row.effect}  {row.foreseen.value}")
        for saying in told.sayings:
            self.stdout.write(f"could not be asked: {saying}")
        if told.counted:
            least = spoken(takes(told.counted, rate))
            self.stdout.write(f"At {rate} in a minute that takes {least} at the least.")
        if options["dry_run"] or told.changes_nothing:
            self.stdout.write("Nothing was changed.")
            return
        if not options["yes"] and not agrees(f"Redrive {told.size} deliveries gradually?"):
            raise CommandError("Not confirmed; nothing was changed.")
        operation = operations.begin(
            alias,
            selection,
            by=who("effects_redrive"),
            why=options["why"],
            canary=canary,
            rate=rate,
            halt_percent=known.redrive_halt_percent,
        )
        self.stdout.write(
            self.style.SUCCESS(f"Redrive operation {operation.pk} has begun; the admin shows it.")
        )

    def _say(self, told: list[remedy.Forecast]) -> int:
        for group in told:
            what = f"left alone: {group.left_alone}" if group.left_alone else "will run again"
            standing = f"{group.state.label} {group.reason}".strip()
            self.stdout.write(f"{group.count:>7}  {group.effect}  {standing}  {what}")
        return sum(group.count for group in told if not group.left_alone)


def _selection(alias: str, options: dict[str, Any]) -> Selection:
    """
    What the options name.

    Raises:
        BadSelection: nothing that can be redriven as one.
    """
    if options["id"]:  # and what else is said of them
        return Selection.of_ids(_chosen(alias, options).values_list("pk", flat=True))
    said = {
        "state": options["state"] or State.POISONED.label,
        "reason": options["reason"],
        "effect": options["effect"],
    }
    return Selection.of_query({name: [value] for name, value in said.items() if value})


def _chosen(alias: str, options: dict[str, Any]) -> DeliveryQuerySet:
    rows: DeliveryQuerySet = Delivery.objects.using(alias).all()
    if options["id"]:
        rows = rows.filter(pk__in=options["id"])
    if options["state"] or not options["id"]:
        rows = rows.filter(state=_STATES.get(options["state"], State.POISONED))
    if options["reason"]:
        rows = rows.filter(reason=options["reason"])
    if options["effect"]:
        rows = rows.filter(effect__in=registry.names_like(options["effect"]))
    return rows
