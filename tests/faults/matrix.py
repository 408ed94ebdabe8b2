"""
The fault matrix: what is known to go wrong, row by row, and which tests say that they stand for it.

A test names its rows in `@pytest.mark.fault(what, rows="C3 C14")`; a row that no test names is in
`NOT_HERE`, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PARTS: dict[str, dict[str, str]] = {
    "Crash points": {
        "C1": "killed before the COMMIT, at any line of the atomic block",
        "C2": "killed after the rows are written, before the COMMIT",
        "C3": "the COMMIT is applied, and its client is never told",
        "C4": "killed after the COMMIT, before the hook",
        "C5": "killed in the hook, before the hint is published",
        "C6": "the hint is published, and the broker dies before it has stored it",
        "C7": "killed right after the hint is published",
        "C8": "a worker is killed between the broker and our code",
        "C9": "killed with a hint in hand, before the claim commits",
        "C10": "killed after the claim, before the effect",
        "C11": "killed in the middle of the effect",
        "C12": "the effect is done at the partner, and the worker killed before it says so",
        "C13": "the effect is work in the same database, and the worker is killed",
        "C14": "nobody knows whether the COMMIT of a completion was applied",
        "C15": "killed after the completion, before the hint is acknowledged",
        "C16": "killed while a failure, or the next attempt, is written",
        "C17": "killed in the middle of a sweep",
        "C18": "killed while a pill is set aside, redriven or pruned",
        "C19": "killed while a record of an idempotency key is begun or finished",
        "C20": "killed while a report is uploaded",
    },
    "Brokers": {
        "B1": "the broker is down at the commit",
        "B2": "the broker hangs: connections open, and nothing answers",
        "B3": "the broker is wiped with hints in it",
        "B4": "the broker is killed and restarted under load",
        "B5": "the broker is slow",
        "B6": "the broker is full",
        "B7": "one hint comes three times, to several workers at once",
        "B8": "hints out of order, too early, for rows that are gone or on another database",
        "B9": "a queue full of stale hints",
        "B10": "malformed hints: not JSON, of a wrong type, huge, pickled",
        "B11": "a worker is connected and does not consume",
        "B12": "a worker with a wrong clock has running work redelivered",
    },
    "Databases": {
        "D1": "the database is killed and restarted while effects run",
        "D2": "the database is down for long",
        "D3": "failover to a standby that lacks the last commits",
        "D4": "the old primary is still writable: a split brain",
        "D5": "the database hangs: connections open, and nothing answers",
        "D6": "a deadlock, a conflict or a lock timeout at each statement",
        "D7": "no connections are left",
        "D8": "the database's disk is full",
        "D9": "a read replica lags behind",
        "D10": "PgBouncer in transaction mode",
        "D11": "a migration while workers run, with old code on new tables",
        "D12": "a snapshot held open while rows die",
        "D13": "rows appear out of the order of their ids",
        "D14": "a savepoint is rolled back in SQL, and the hook runs all the same",
        "D15": "the wrong database, or no transaction at all",
    },
    "Workers and effects": {
        "W1": "SIGKILL for a child, a worker, or all of them in the middle of a run",
        "W2": "a worker is frozen past its lease, and comes back",
        "W3": "no memory is left",
        "W4": "an effect kills its process each time",
        "W5": "SystemExit, KeyboardInterrupt and their like in an effect",
        "W6": "an effect hangs for ever",
        "W7": "errors that cannot be pickled, printed or stored",
        "W8": "recording a failure fails",
        "W9": "a payload that cannot be stored is emitted",
        "W10": "a payload cannot be read, or is of another version",
        "W11": "an effect is renamed or removed in a rolling deploy",
        "W12": "the hint of a new effect reaches an old worker",
        "W13": "the subject is deleted before the run",
        "W14": "the subject changes while a worker asks whether it is still needed",
        "W15": "a partner fails for a while, or says when to come again",
        "W16": "a backlog after an outage",
        "W17": "one bad effect floods its queue",
        "W18": "a warm or a cold shutdown, or a recycled child, in the middle of a run",
        "W19": "two sweeps at once",
        "W20": "a worker leaks memory",
    },
    "Time and host": {
        "T1": "no beat for a day",
        "T2": "the broker is down exactly at a tick",
        "T3": "two beats",
        "T4": "a worker's clock is an hour off, or jumps",
        "T5": "the database's clock jumps",
        "T6": "summer time, leap days, the year 2100, instants without a zone",
        "T7": "a table full of jobs of the far future",
        "T8": "nobody is ever told of a job of the far future",
        "T9": "the host's power is cut",
    },
    "Idempotency and reports": {
        "I1": "identical requests at once",
        "I2": "a crash in the middle of a request, and the client asks again",
        "I3": "one key, another payload",
        "I4": "an answer that is too large, streamed, or lets somebody in",
        "I5": "a key's record has expired, and the client asks again",
        "S1": "the store of reports is down, fails, or is slow",
        "S2": "a part of a report is uploaded",
        "S3": "a stored report is deleted behind our back",
        "S4": "two workers build one report",
        "S5": "the store's credentials have expired",
    },
}
ROWS = {row: fault for part in PARTS.values() for row, fault in part.items()}

NOT_HERE = {
    "D4": "Two servers that both say yes to a COMMIT are out of any client's power: fence the old"
    " primary, as the guide to your failover says.",
    "T9": "No test can cut this machine's power. What the database had flushed is there, and"
    " D1 and D3 show what becomes of the rest.",
}


@dataclass(frozen=True)
class Marked:
    """A test that bears the mark."""

    file: str
    name: str
    rows: tuple[str, ...]

    def is_of(self, test: str) -> bool:
        """Whether *test* is its id in pytest, of whichever class."""
        file, *_, name = test.split("::")
        return (file, name) == (self.file, self.name)


def marked(root: Path = ROOT) -> list[Marked]:
    """All such tests, read and not imported: some can be imported only where a server is."""
    return [
        mark
        for path in sorted((root / "tests").rglob("test_*.py"))
        for mark in _in(path, str(path.relative_to(root)))
    ]


def _in(path: Path, file: str) -> Iterator[Marked]:
    module = ast.parse(path.read_text())
    of_all = None
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark":
            marks = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            of_all = _rows(marks)
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            rows = _rows(node.decorator_list)
            rows = of_all if rows is None else rows  # the nearest mark counts, as for pytest
            if rows is not None:
                yield Marked(file, node.name, rows)


def _rows(marks: Iterable[ast.expr]) -> tuple[str, ...] | None:
    """Those that the mark among them names; None where there is no such mark."""
    for mark in marks:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
            rows = {word.arg: word.value for word in mark.keywords}.get("rows")
            return tuple(ast.literal_eval(rows).split()) if rows else ()
    return None
