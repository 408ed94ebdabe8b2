"""
The project's processes, and what they left behind: in the outside file, with the clients, in rows.

In: the URL of a database that a test may hurt. The clients know which of their orders were
confirmed; of those that ended in an error they ask afterwards whether they stand. Whatever stands
must be done in the end, and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reliable_effects.outbox.states import State
from tests.faults.outside import Outside
from tests.services.plain import connect
from tests.waiting import eventually
from tests.worker.conftest import Worker, running

OUTSIDE = ("call", "harmless")  # the effects that leave a line outside


@dataclass(frozen=True)
class Answer:
    """What a client was told about its order."""

    order: str
    error: str
    seconds: float


@dataclass(frozen=True)
class Outcome:
    lost: int
    phantom: int
    extra_runs: int
    extra_calls: int  # those of them whose effect is not harmless to repeat
    orders: int


class Project:
    def __init__(self, folder: Path, url: str, options: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.url = url
        self.outside = Outside(folder / "outside")
        self.environment = {
            "DJANGO_SETTINGS_MODULE": "tests.faults.databases.settings",
            "FAULTS_DATABASE": url,
            "FAULTS_OPTIONS": json.dumps(options or {}),
            "FAULTS_OUTSIDE": str(self.outside.path),
            "FAULTS_ANSWERS": str(folder / "answers"),
        }
        self._logs = 0

    # Its processes.

    def migrate(self) -> None:
        self.run("django", "migrate", "--run-syncdb", "--verbosity=0")

    def run(self, *command: str) -> None:
        subprocess.run(
            [sys.executable, "-m", *command], env=os.environ | self.environment, check=True,
            timeout=60,
        )  # fmt: skip

    def worker(self, kind: str, broker: Any) -> AbstractContextManager[Worker]:
        """Of that *kind*, "effects_worker" or "celery", for as long as the block takes."""
        if kind == "effects_worker":
            return self.effects_worker()
        self.use(broker)
        return self.celery_worker()

    def use(self, broker: Any) -> None:
        """Web and workers talk through *broker* from now on."""
        self.environment["TEST_BROKER"] = broker.url

    def effects_worker(self, *, processes: int = 2) -> AbstractContextManager[Worker]:
        return self._running("worker", "django", "effects_worker", f"--processes={processes}")

    def celery_worker(self) -> AbstractContextManager[Worker]:
        """Two children and the sweeper; the broker is in the environment."""
        app = "tests.faults.databases.celery_app"
        return self._running(
            "worker", "celery", "-A", app, "worker", "-c2", "-Qeffects", "-lWARNING"
        )

    def clients(
        self, *, rate: float, count: int, threads: int = 4, name: str = "o"
    ) -> AbstractContextManager[Worker]:
        """So many orders, at a steady rate; the process ends with the last."""
        parameters = map(str, (rate, count, threads, name))
        return self._running("clients", "tests.faults.databases.client", *parameters)

    def go_on(self, calls: int, *, within: float = 40) -> None:
        """Until the partner has had so many calls more."""
        before = len(self.outside.calls())
        eventually(lambda: len(self.outside.calls()) >= before + calls, within=within)

    @contextmanager
    def _running(self, name: str, *command: str) -> Iterator[Worker]:
        self._logs += 1
        log = self.folder / f"{name}-{self._logs}.log"
        with running(command, log, **self.environment) as process:
            yield process
            with suppress(ProcessLookupError):  # how it stops is other tests' matter
                os.killpg(process.pid, signal.SIGKILL)

    def logged(self, name: str = "worker") -> str:
        """What the processes of that name wrote to their logs."""
        logs = sorted(self.folder.glob(f"{name}-*.log"))
        return "".join(log.read_text(errors="replace") for log in logs)

    # What came of it.

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Straight from the database, by no code of ours."""
        with closing(connect(self.url)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall()) if cursor.description else []

    def states(self) -> dict[str, int]:
        """How many deliveries are in which state."""
        rows = self.ask("SELECT state, count(*) FROM reliable_effects_delivery GROUP BY state")
        return {State(state).name: count for state, count in rows}

    def answers(self) -> list[Answer]:
        path = Path(self.environment["FAULTS_ANSWERS"])
        lines = path.read_text().splitlines() if path.exists() else []
        return [Answer(**json.loads(line)) for line in lines]

    def errors(self) -> Counter[str]:
        """What the clients were told went wrong, and how often."""
        return Counter(answer.error for answer in self.answers() if answer.error)

    def outcome(self, *, within: float = 60) -> Outcome:
        """Wait until nothing is left to do, and judge."""
        eventually(self.nothing_is_left, within=within)
        placed = {order for (order,) in self.ask("SELECT charge_id FROM shop_order")}
        confirmed = {answer.order for answer in self.answers() if not answer.error}
        verdict = self.outside.judge(f"{order}: {what}" for order in placed for what in OUTSIDE)
        gone = len(confirmed - placed)
        assert not gone, f"{gone} confirmed orders are gone: the database lost commits itself"
        assert verdict.other_keys == 0
        assert self._points() == {(pk, 1) for (pk,) in self.ask("SELECT id FROM shop_order")}
        calls = [call.what for call in self.outside.calls() if call.what.endswith(": call")]
        return Outcome(
            lost=verdict.lost,
            phantom=verdict.phantom,
            extra_runs=verdict.extra_runs,
            extra_calls=len(calls) - len(set(calls)),
            orders=len(placed),
        )

    def nothing_is_left(self) -> bool:
        states = self.states()
        assert states.keys() <= {"SUCCEEDED"}, states
        return True

    def _points(self) -> set[tuple[int, int]]:
        """The writes of an `atomic` effect: by order, how often it was done."""
        return set(self.ask("SELECT order_pk, count(*) FROM shop_ledgerentry GROUP BY order_pk"))


def cpu_seconds(pids: Sequence[int]) -> float:
    """What the processes have used of a processor by now. Linux."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")
