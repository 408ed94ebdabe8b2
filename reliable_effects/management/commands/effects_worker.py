"""Run deliveries and sweeps in children of this process: no broker, no Celery."""

from __future__ import annotations

import os
import signal
from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ...conf import settings
from ...outbox import dispatch, sweeps, timeout, worker


class Command(BaseCommand):
    help = (
        "Carry out deliveries without a broker and without Celery, and sweep."
        " Ctrl-C lets what is running finish; a second one does not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--processes", type=int, default=os.cpu_count() or 1, help="children that run effects"
        )
        parser.add_argument(
            "--queues", default="", help="comma-separated; those only (default: every queue)"
        )
        parser.add_argument(
            "--relay-only",
            action="store_true",
            help="run no effects: hint what is due to the Celery workers, rescue and prune",
        )
        parser.add_argument(
            "--drain", action="store_true", help="end when nothing is due any more (for cron)"
        )

    def handle(self, **options: Any) -> None:
        if options["processes"] < 1:
            raise CommandError(f"--processes {options['processes']}: at least one has to work.")
        if options["drain"] and options["relay_only"]:
            raise CommandError("--drain runs what is due; --relay-only runs nothing: choose one.")
        queues = [queue.strip() for queue in options["queues"].split(",") if queue.strip()]
        if options["drain"]:
            # Where code calls the command, the process and its alarm are not ours to use.
            if getattr(self, "_called_from_command_line", False):
                timeout.enforce_here()
            stops = self._heard_stops()
            sweeps.sweep_all(with_relay=False)
            worker.work(queues, lambda: bool(stops), drain=True)
            return
        processes = options["processes"]
        if options["relay_only"]:
            if not dispatch.is_configured():
                raise CommandError(
                    "--relay-only sends hints to a broker, and none is configured."
                    " Set RELIABLE_EFFECTS['TRANSPORT'], or leave --relay-only out."
                )
            processes = 0
        known = settings()
        self.stdout.write(
            f"effects_worker: {processes or 'no'} processes, queues: {', '.join(queues) or 'all'},"
            f" databases: {', '.join(known.databases)}. Ctrl-C stops."
        )
        if processes and dispatch.is_configured():
            self.stdout.write(
                "A broker is configured too, so what is emitted is hinted there first. Where no"
                " Celery worker runs, set RELIABLE_EFFECTS['TRANSPORT'] = 'none': it is quicker."
            )
        self.stdout.flush()
        patience = known.timeout + known.lease_grace
        worker.Supervisor(processes, queues, max(patience, timedelta(seconds=1))).run()
        self.stdout.write("effects_worker: stopped.")

    def _heard_stops(self) -> list[int]:
        """The signals to stop that have come; to the effect that runs they are not told."""
        heard: list[int] = []
        if getattr(self, "_called_from_command_line", False):
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda number, _frame: heard.append(number))
        return heard
