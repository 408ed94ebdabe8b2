"""
The ledger: every call that arrived, in the order of arrival.

In goes a call with its idempotency key, out comes the answer. Promise: for one partner and key
the call is applied once, and every later arrival gets the first answer.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

NO_ANSWER = 0  # the status of a call whose connection was dropped

_TABLES = """
PRAGMA journal_mode=WAL;
PRAGMA synchronous=OFF;
CREATE TABLE IF NOT EXISTS arrival (
    id INTEGER PRIMARY KEY,
    partner TEXT NOT NULL,
    key TEXT NOT NULL,
    reference TEXT NOT NULL,
    body TEXT NOT NULL,
    applied INTEGER NOT NULL,
    status INTEGER NOT NULL,
    answer TEXT NOT NULL,
    at REAL NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS arrival_once ON arrival (partner, key) WHERE applied;
"""
_COLUMNS = ("id", "partner", "key", "reference", "applied", "status", "body", "answer", "at")


class Ledger:
    """One SQLite file and one connection; a lock makes the threads of the server take turns."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(_TABLES)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def apply(
        self, partner: str, key: str, body: dict[str, Any], *, status: int = 200
    ) -> dict[str, Any]:
        """Do what the call asks for, unless this key was done before; return the first answer."""
        with self._lock:
            first = self._first_answer(partner, key)
            answer = first or {"id": f"{partner}-{self._next_id()}", "order": _reference(body)}
            self._write(partner, key, body, applied=first is None, status=status, answer=answer)
        return answer

    def refuse(self, partner: str, key: str, body: dict[str, Any], *, status: int) -> None:
        """Write down a call that was turned away and changed nothing."""
        with self._lock:
            self._write(partner, key, body, applied=False, status=status, answer={})

    def find(self, partner: str, key: str) -> dict[str, Any] | None:
        """What was answered when *key* was applied; None where it never was."""
        with self._lock:
            return self._first_answer(partner, key)

    def arrivals(
        self, *, partner: str = "", reference: str = "", last: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the arrivals, oldest first; with *last*, only that many of the newest."""
        with self._lock:
            rows = self._db.execute(
                f"SELECT {', '.join(_COLUMNS)} FROM arrival"
                " WHERE (?1 = '' OR partner = ?1) AND (?2 = '' OR reference = ?2)"
                " ORDER BY id DESC LIMIT ?3",
                (partner, reference, -1 if last is None else last),
            ).fetchall()
        return [_as_json(row) for row in reversed(rows)]

    def counts(self) -> dict[str, dict[str, int]]:
        """Per partner: calls that arrived, were applied, and were turned away or left unanswered."""
        with self._lock:
            rows = self._db.execute(
                "SELECT partner, count(*), sum(applied), sum(status <> 200)"
                " FROM arrival GROUP BY partner"
            ).fetchall()
        return {
            partner: {"arrived": arrived, "applied": applied, "failed": failed}
            for partner, arrived, applied, failed in rows
        }

    def _first_answer(self, partner: str, key: str) -> dict[str, Any] | None:
        row = self._db.execute(
            "SELECT answer FROM arrival WHERE partner = ? AND key = ? AND applied", (partner, key)
        ).fetchone()
        return json.loads(row[0]) if row else None

    def _next_id(self) -> int:
        return self._db.execute("SELECT coalesce(max(id), 0) + 1 FROM arrival").fetchone()[0]

    def _write(
        self,
        partner: str,
        key: str,
        body: dict[str, Any],
        *,
        applied: bool,
        status: int,
        answer: dict[str, Any],
    ) -> None:
        self._db.execute(
            "INSERT INTO arrival (partner, key, reference, body, applied, status, answer, at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                partner,
                key,
                _reference(body),
                json.dumps(body),
                applied,
                status,
                json.dumps(answer),
                time.time(),
            ),
        )


def _reference(body: dict[str, Any]) -> str:
    return str(body.get("order", ""))


def _as_json(row: tuple[Any, ...]) -> dict[str, Any]:
    arrival = dict(zip(_COLUMNS, row, strict=True))
    arrival["applied"] = bool(arrival["applied"])
    arrival["body"] = json.loads(arrival["body"])
    arrival["answer"] = json.loads(arrival["answer"])
    return arrival
