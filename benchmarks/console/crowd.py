"""
Ten million deliveries as a busy year leaves them: what they are, by their number.

The newest hundredth is due. Half of what lies in one stretch of ids failed in one way, as in an
outage of a partner; the rest of the pills, what is uncertain and what lies far ahead are strewn.
The oldest twenty have what no others have: an effect, a queue and a reason of their own, which a
walk from the newest to the oldest finds last.
"""

# ruff: noqa: S608, T201  # the tables are ours, and a command talks to its caller
from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from reliable_effects import effect
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import Flag, Reason, State
from tests.shop.events import order_placed
from tests.shop.models import Order

from .sql import (
    ago,
    case,
    execute,
    fingerprint,
    in_order,
    insert,
    is_postgres,
    quoted,
    scattered,
    settle,
    text,
    whole,
    without_indexes,
)

EFFECTS = 50
GROUPS = 200
BIG = 0  # the group that has 40 % of the pills
RARE, NONE = "scale.rare", "scale.none"  # twenty deliveries, and not one
RARE_QUEUE = "rare"
QUEUES = ("effects", "payments", "mail", "slow")
OLDEST = 20
EVENTS = 0.4  # for each delivery
LARGE_SUBJECT = "1"  # a hundredth of the events are about it
DAYS = 30  # what ended is kept for so long


def declare_effects() -> None:
    """Fifty, as the filters and the page of effects show them."""

    def run(*_: object) -> None:
        raise NotImplementedError("Nothing runs here.")

    for number in range(EFFECTS):
        effect(f"scale.effect_{number:02}", on=order_placed, queue=QUEUES[number % 4])(run)
    effect(RARE, on=order_placed, queue=RARE_QUEUE)(run)
    effect(NONE, on=order_placed)(run)


def make(rows: int, poisoned: int) -> None:
    """Events, deliveries and the attempts of pills; a line for each says how long it took."""
    events = max(int(rows * EVENTS), 1)
    with without_indexes((OutboxEvent, Delivery, Attempt)):
        with told(f"{events:,} events"):
            _events(events)
        with told("their subjects"):
            insert(Order, events, {"status": "'placed'", "charge_id": "''", "placed_at": ago("n")})
        with told(f"{rows:,} deliveries"):
            _deliveries(rows, poisoned, events)
        with told("attempts of pills, and a hundred of one"):
            _attempts()
        began = time.perf_counter()
    print(f"  indexes: {time.perf_counter() - began:.0f} s", flush=True)


@contextmanager
def told(what: str) -> Iterator[None]:
    began = time.perf_counter()
    print(f"  {what}", end="", flush=True)
    yield
    print(f": {time.perf_counter() - began:.0f} s", flush=True)


def vacuum() -> None:
    with told("vacuum and statistics"):
        settle()


def _events(count: int) -> None:
    insert(
        OutboxEvent,
        count,
        {
            "id": in_order("n"),
            "name": case((f"n <= {OLDEST}", "'shop.order_charged'"), otherwise="'shop.order_placed'"),
            "version": "1",
            "subject_model": "'shop.order'",
            "subject_pk": case(("n % 100 = 0", f"'{LARGE_SUBJECT}'"), otherwise=text("n")),
            "payload": """'{"coupon": "WELCOME", "address": {"city": "Utrecht", "street": "Oudegracht"}}'""",
            "correlation": in_order("n"),
            "trace_id": "''",
            "source": "'emit'",
            "emitted_at": ago(f"({count} - n) * {DAYS * 86_400 / count:.6f}"),
        },
    )  # fmt: skip


def _deliveries(rows: int, poisoned: int, events: int) -> None:
    begins, newest = rows // 2, rows - rows // 100
    stretch = max(int(poisoned * 0.4 * 2), 1)
    outage = f"n > {begins} AND n <= {begins + stretch} AND n % 2 = 0"
    strewn = rows - stretch - rows // 100
    # Of each 10,000 numbers in a row so many are of a kind; 7919 is prime, so they are strewn.
    of_it = "(n * 7919) % 10000"
    pills = round(10_000 * poisoned * 0.6 / strewn)
    uncertain, ahead, skipped, cancelled = 22, 550, 100, 20
    ends = [pills]
    for share in (uncertain, ahead, skipped, cancelled):
        ends.append(ends[-1] + share)
    state = case(
        (f"n <= {OLDEST}", f"{State.POISONED:d}"),
        (f"n > {newest} AND n % 500 = 0", f"{State.RUNNING:d}"),
        (f"n > {newest}", f"{State.PENDING:d}"),
        (outage, f"{State.POISONED:d}"),
        (f"n > {begins} AND n <= {begins + stretch}", f"{State.SUCCEEDED:d}"),
        (f"{of_it} < {ends[0]}", f"{State.POISONED:d}"),
        (f"{of_it} < {ends[1]}", f"{State.UNCERTAIN:d}"),
        (f"{of_it} < {ends[2]}", f"{State.PENDING:d}"),
        (f"{of_it} < {ends[3]}", f"{State.SKIPPED:d}"),
        (f"{of_it} < {ends[4]}", f"{State.CANCELLED:d}"),
        otherwise=f"{State.SUCCEEDED:d}",
    )
    group = case((outage, str(BIG)), otherwise=f"(1 + (n * 31) % {GROUPS - 1})")
    is_pill, waits = f"state = {State.POISONED:d}", f"state = {State.PENDING:d}"
    is_ahead = f"{waits} AND n <= {newest}"
    emitted = ago(f"({rows} - n) * {DAYS * 86_400 / rows:.6f}")
    due = case((is_ahead, ago("-86400 * (30 + n % 300)")), otherwise=emitted)
    columns = {
        "event_id": in_order(whole(f"(n - 1) * {events / rows:.8f} + 1")),
        "effect": case(
            (f"n <= {OLDEST}", f"'{RARE}'"),
            (is_pill, f"concat('scale.effect_', lpad({text(f'grp % {EFFECTS}')}, 2, '0'))"),
            otherwise=f"concat('scale.effect_', lpad({text(f'n % {EFFECTS}')}, 2, '0'))",
        ),
        "key": scattered("n", "delivery"),
        "generation": "0",
        "queue": case(
            (f"n <= {OLDEST}", f"'{RARE_QUEUE}'"),
            ("n % 4 = 0", f"'{QUEUES[0]}'"),
            ("n % 4 = 1", f"'{QUEUES[1]}'"),
            ("n % 4 = 2", f"'{QUEUES[2]}'"),
            otherwise=f"'{QUEUES[3]}'",
        ),
        "state": "state",
        "reason": case(
            (f"n <= {OLDEST}", f"'{Reason.SUBJECT_GONE}'"),
            (f"{is_pill} AND grp % 10 = 1", f"'{Reason.REFUSED}'"),
            (is_pill, f"'{Reason.ATTEMPTS_SPENT}'"),
            (f"state = {State.SKIPPED:d}", f"'{Reason.NOT_NEEDED}'"),
            otherwise="''",
        ),
        "due_at": due,
        "look_at": case(
            (waits, due), (f"state = {State.UNCERTAIN:d} AND n % 2 = 0", emitted), otherwise="NULL"
        ),
        "hints": "0",
        "attempts": case((is_pill, "8"), (is_ahead, "0"), (f"{waits} AND n % 9 <> 0", "0"),
                         otherwise="1"),
        "claim_token": case((f"state = {State.RUNNING:d}", "n"), otherwise="NULL"),
        "lease_expires_at": case((f"state = {State.RUNNING:d}", ago("-300")), otherwise="NULL"),
        "worker": "''",
        "finished_at": case((f"{waits} OR state = {State.RUNNING:d}", "NULL"), otherwise=emitted),
        "flags": f"{Flag.BEGUN}",
        "fingerprint": case((is_pill, fingerprint("grp")), otherwise="''"),
    }  # fmt: skip
    _insert_by_kind(rows, columns, state, group)


def _insert_by_kind(rows: int, columns: dict[str, str], state: str, group: str) -> None:
    """As `insert`, where the columns also speak of `state` and `grp`, in turns of a million."""
    names = ", ".join(map(quoted, columns))
    values = ", ".join(columns.values())
    for first in range(1, rows + 1, 1_000_000):
        last = min(first + 999_999, rows)
        numbers = (
            f"(SELECT n::bigint AS n FROM generate_series({first}, {last}) AS s(n)) AS numbers"
            if is_postgres()
            else f"(SELECT CAST(seq AS SIGNED) AS n FROM seq_{first}_to_{last}) AS numbers"
        )
        execute(
            f"INSERT INTO {Delivery._meta.db_table} ({names}) SELECT {values} FROM"
            f" (SELECT n, {state} AS state, {group} AS grp FROM {numbers}) AS kinds"
        )
        print(".", end="", flush=True)


def _attempts() -> None:
    """The last one of each pill, and a hundred of the newest that has succeeded."""
    attempts, deliveries = Attempt._meta.db_table, Delivery._meta.db_table
    columns = (
        "delivery_id, number, started_at, ended_at, outcome, exception_type, message, traceback,"
        " fingerprint, place, host, release"
    ).replace("release", quoted("release"))
    said = (
        "'shop.partners.PartnerSaysNo', concat('Order ', id, ' was refused: ', repeat('no ', 80)),"
        " repeat('  File \"shop/partners.py\", line 41, in charge', 20), {}, 'shop.partners:charge',"
        " concat('worker-', id % 40, ':17'), concat('2026.', id % 12)"
    )
    execute(
        f"INSERT INTO {attempts} ({columns}) SELECT id, 8, finished_at, finished_at, 'failed',"
        f" {said.format('fingerprint')} FROM {deliveries} WHERE state = {State.POISONED:d}"
    )
    newest = f"SELECT id, finished_at FROM {deliveries} WHERE state = {State.SUCCEEDED:d}"
    numbers = "generate_series(1, 100) AS numbers(n)" if is_postgres() else "seq_1_to_100"
    number = "n" if is_postgres() else "seq"
    execute(
        f"INSERT INTO {attempts} ({columns}) SELECT id, {number}, finished_at, finished_at,"
        f" 'failed', {said.format(fingerprint('0'))}"
        f" FROM ({newest} ORDER BY id DESC LIMIT 1) AS one, {numbers}"
    )
