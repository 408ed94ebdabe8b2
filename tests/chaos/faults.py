"""
What the nemesis can do: each fault begins, lasts a while, and ends; it says whose runs it may cut.

A fault that finds nothing to break (no broker in this run, say) is not offered. `needs` says what
else it takes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from example_project.processes import Process
from tests.chaos.stage import CHILDREN, Stage
from tests.services import Postgres
from tests.services.plain import connect
from tests.services.wrong_clock import set_clock, shifted

LEASE = 7.0  # seconds: the shop's timeout and lease grace in haste
ALL_RUNS = 2 * CHILDREN  # of two workers
_MOST_CONNECTIONS = 500  # more than any of these servers has

Struck = int
Work = Callable[[Stage, random.Random], Iterator[tuple[str, float, Struck]]]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """
    *work* does it, says what it did, how many seconds it is to last and how many runs of effects
    it may cut short, or have done twice; what stands behind its `yield` undoes it.
    """

    name: str
    rows: str  # of the fault matrix
    work: Work
    needs: str = ""  # "broker", "server" (a database that is one), "disk", "clock", "old", "shift"


_ALL: list[Fault] = []


def fault(name: str, *, rows: str, needs: str = "") -> Callable[[Work], Work]:
    def note(work: Work) -> Work:
        _ALL.append(Fault(name=name, rows=rows, work=work, needs=needs))
        return work

    return note


# Workers


@fault("kill_child", rows="W1 C8 C9 C10 C11 C12 C15")
def _kill_child(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    worker = _someone(stage, dice)
    children = worker.children() if worker else []
    if not children:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(dice.choice(children), signal.SIGKILL)
        yield f"killed a child of {worker.name}", 0, 1


@fault("kill_worker", rows="W1 C8 C11 C12")
def _kill_worker(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    worker = _someone(stage, dice)
    if worker is None:
        return
    worker.kill()
    yield f"killed {worker.name} and its children", 1, CHILDREN
    worker.start()


@fault("freeze_worker", rows="W2")
def _freeze_worker(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """Past its lease: others take over, and then it comes back."""
    worker = _someone(stage, dice)
    if worker is None:
        return
    os.killpg(worker.pid, signal.SIGSTOP)
    yield f"froze {worker.name} past its lease", LEASE + 3, CHILDREN
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGCONT)


@fault("killer", rows="W4 W17")
def _killer(stage: Stage, _dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """Its own runs are not judged, but those that were under way in the same process are."""
    stage.run("tests.chaos.trouble")
    yield "promised an effect that kills its process", 0, 10  # as often as it may kill in haste


# Brokers


@fault("kill_broker", rows="B4 C6", needs="broker")
def _kill_broker(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.broker.kill()
    # Kombu may end a worker whose Redis dies; then a supervisor starts it again.
    yield "killed the broker", dice.uniform(1, 4), ALL_RUNS
    stage.broker.start()


@fault("hang_broker", rows="B2", needs="broker")
def _hang_broker(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.broker.freeze()
    yield "hung the broker", dice.uniform(3, 8), 0
    stage.broker.thaw()


@fault("wipe_broker", rows="B3", needs="broker")
def _wipe_broker(stage: Stage, _dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.broker.wipe()
    yield "wiped the broker", 0, 0


@fault("cut_broker", rows="B1 B5", needs="broker")
def _cut_broker(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    mode = dice.choice(["cut", "drop_replies", "refuse", "slow"])
    stage.before_broker.mode = mode
    yield f"the way to the broker: {mode}", dice.uniform(1, 4), ALL_RUNS
    stage.before_broker.mode = "ok"


# Databases


@fault("restart_database", rows="D1", needs="server")
def _restart_database(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.database.kill()
    yield "killed the database", dice.uniform(0.5, 3), ALL_RUNS
    stage.database.start()


@fault("kill_sessions", rows="D1", needs="server")
def _kill_sessions(stage: Stage, _dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    with stage.ask() as connection, contextlib.closing(connection.cursor()) as cursor:
        if isinstance(stage.database, Postgres):
            cursor.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        else:
            cursor.execute(
                "SELECT id FROM information_schema.processlist"
                " WHERE db = database() AND id <> connection_id()"
            )
            for (session,) in cursor.fetchall():
                with contextlib.suppress(Exception):  # it ended by itself
                    cursor.execute(f"KILL {int(session)}")
    yield "ended every session of the database", 0, ALL_RUNS


@fault("cut_commits", rows="C3 C14", needs="server")
def _cut_commits(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """One after the other is carried out, and its answer never comes."""
    until, cut = time.monotonic() + 4, 0
    while time.monotonic() < until:
        stage.before_database.lose_reply_to(b"COMMIT")
        cut += 1
        time.sleep(dice.uniform(0.1, 0.4))
    yield f"lost the answers to {cut} COMMITs", 0, cut


@fault("cut_database", rows="D1 D5", needs="server")
def _cut_database(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    mode = dice.choice(["cut", "freeze", "drop_replies", "refuse", "slow"])
    stage.before_database.mode = mode
    yield f"the way to the database: {mode}", dice.uniform(1, 4), ALL_RUNS
    stage.before_database.mode = "ok"
    if mode == "drop_replies":  # nobody will ever be answered on these
        stage.before_database.mode = "cut"
        stage.before_database.mode = "ok"


@fault("exhaust_connections", rows="D7", needs="server")
def _exhaust(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    with ExitStack() as stack:
        taken = 0
        with contextlib.suppress(Exception):  # until the server has no more
            while taken < _MOST_CONNECTIONS:
                stack.enter_context(contextlib.closing(connect(stage.direct_url)))
                taken += 1
        yield f"took {taken} connections of the database: all that were free", dice.uniform(2, 5), 0


@fault("fill_disk", rows="D8", needs="disk")
def _fill_disk(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.disk.fill()
    yield "filled the database's disk", dice.uniform(2, 5), ALL_RUNS
    stage.disk.free()


# Clocks, beats, releases


@fault("worker_clock", rows="T4 B12", needs="clock")
def _worker_clock(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    off = timedelta(hours=dice.choice([-1, 1]))
    file = stage.folder / "clock"
    set_clock(file, off)
    name = f"worker-off-{dice.getrandbits(16):04x}"
    with _also(stage, stage.worker(name, environment=shifted(file))):
        yield f"a worker whose clock is {off.total_seconds() / 3600:+.0f} h off", 6, CHILDREN


@fault("database_clock", rows="T5", needs="shift")
def _database_clock(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """Leases end at once, or last for so much longer: the clock comes back in the end."""
    off = timedelta(seconds=dice.choice([-30, 30]))  # what was put off in it waits so much longer
    stage.database.set_clock(off)
    yield f"the database's clock jumped by {off.total_seconds():+.0f} s", 4, ALL_RUNS
    stage.database.set_clock(timedelta(0))


@fault("two_beats", rows="T3 W19", needs="broker")
def _two_beats(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    with _also(stage, stage.beat_process(f"beat-{dice.getrandbits(16):04x}")):
        yield "a second beat", 8, 0


@fault("no_beat", rows="T1 T2", needs="broker")
def _no_beat(stage: Stage, _dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    stage.beat.kill()
    yield "killed beat", 8, 0
    stage.beat.start()


@fault("old_release", rows="D11 W11 W12", needs="old")
def _old_release(stage: Stage, dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """It knows neither the newest columns nor all effects; its rows and ours are the same."""
    worker = stage.worker(f"worker-old-{dice.getrandbits(16):04x}", folder=stage.old_release)
    with _also(stage, worker):
        yield "a worker of the release before beside the others", 8, CHILDREN


@fault("lose_tables", rows="P9")
def _lose_tables(stage: Stage, _dice: random.Random) -> Iterator[tuple[str, float, Struck]]:
    """What the shop still owes is found from its own rows, under the same keys."""
    with stage.ask() as connection, contextlib.closing(connection.cursor()) as cursor:
        for table in ("reliable_effects_delivery", "reliable_effects_outboxevent"):
            cursor.execute(f"DELETE FROM {table}")
    yield "deleted all deliveries and events", 0, ALL_RUNS


def offered(stage: Stage, names: set[str]) -> list[Fault]:
    """Those of *names* (all, where it is empty) that can be done on *stage*."""
    there = {
        "": True,
        "broker": stage.broker is not None,
        "server": stage.database is not None,
        "disk": stage.disk is not None,
        "clock": stage.can_shift_clocks,
        "shift": hasattr(stage.database, "set_clock"),
        "old": stage.old_release is not None,
    }
    return [f for f in _ALL if there[f.needs] and (not names or f.name in names)]


def all_names() -> list[str]:
    return [f.name for f in _ALL]


def rows_of(name: str) -> str:
    return next(f.rows for f in _ALL if f.name == name)


@contextlib.contextmanager
def _also(stage: Stage, process: Process) -> Iterator[None]:
    stage.start(process)
    try:
        process.wait_until_ready(60)
        yield
    finally:
        process.stop()


def _someone(stage: Stage, dice: random.Random) -> Process | None:
    """A worker that is up: one that is still starting has nothing to lose."""
    up = [w for w in stage.workers if w.is_alive() and w.is_ready()]
    return dice.choice(up) if up else None
