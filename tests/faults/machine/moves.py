"""
Every single INSERT, UPDATE and DELETE of a delivery, as the database saw it, and the laws for them.

A rule that looks at rows before and after sees only where they ended; a trigger sees each move.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import ENDED_WELL, MOVES, Flag, Reason, State

_TABLE = Delivery._meta.db_table
_LOG = "machine_moves"
_TEXTS = ("key", "effect", "reason")
_COPIED = ("state", "attempts", "claim_token", "flags", "generation", *_TEXTS)


@dataclass(frozen=True)
class Move:
    """One row's change; `was` is empty for an INSERT, `now` for a DELETE."""

    delivery: int
    was: dict[str, Any]
    now: dict[str, Any]

    def __str__(self) -> str:
        return f"delivery {self.delivery}: {self.was} → {self.now}"


@contextmanager
def recorded() -> Iterator[None]:
    """Have the moves recorded while the block runs."""
    _run(*_create())
    try:
        yield
    finally:
        _run(*_drop())


def taken() -> list[Move]:
    """The moves since this was asked last, in their order."""
    columns = [f"{side}_{name}" for side in ("old", "new") for name in _COPIED]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT delivery, {', '.join(columns)} FROM {_LOG} ORDER BY id")
        rows = cursor.fetchall()
        if rows:
            cursor.execute(f"DELETE FROM {_LOG}")
    half = len(_COPIED)
    return [Move(row[0], _side(row[1 : 1 + half]), _side(row[1 + half :])) for row in rows]


def _side(values: Any) -> dict[str, Any]:
    return {} if values[0] is None else dict(zip(_COPIED, values, strict=True))


# The laws


def check(move: Move) -> None:
    was, now = move.was, move.now
    if not was:
        assert now["state"] == State.PENDING, f"born in another state: {move}"
        assert now["claim_token"] is None, f"born claimed: {move}"
        return
    if not now:
        assert was["state"] in ENDED_WELL, f"deleted, and it had not ended well: {move}"
        return
    for column in ("key", "effect", "generation"):
        assert was[column] == now[column], f"its {column} changed: {move}"
    assert (now["claim_token"] is not None) == (now["state"] == State.RUNNING), f"token: {move}"
    assert now["attempts"] >= 0, f"attempts: {move}"
    if was["state"] == now["state"]:
        assert was["claim_token"] == now["claim_token"], f"claimed over a claim: {move}"
        assert was["attempts"] == now["attempts"], f"attempts changed: {move}"
        return
    assert now["state"] in MOVES[State(was["state"])], f"no legal move: {move}"
    assert _counts_well(State(was["state"]), State(now["state"]), was, now), f"attempts: {move}"


def _counts_well(  # noqa: PLR0911  # one for each kind of move
    old: State, new: State, was: dict[str, Any], now: dict[str, Any]
) -> bool:
    spent = now["attempts"] - was["attempts"]
    match old, new:
        case State.PENDING, State.RUNNING:
            return spent == 1 and not now["flags"] & Flag.VERIFYING
        case State.UNCERTAIN, State.RUNNING:
            return spent == 0 and bool(now["flags"] & Flag.VERIFYING)
        case State.RUNNING, State.SUCCEEDED | State.SKIPPED:
            return spent == 0
        case State.RUNNING, _:  # given back, or not: the rules know when
            return spent in (0, -1) and not (spent and was["flags"] & Flag.VERIFYING)
        case State.POISONED, State.PENDING if was["reason"] == Reason.UNKNOWN_EFFECT:
            return spent == 0 or now["attempts"] == 0  # revived, or redriven
        case _, State.PENDING:
            return now["attempts"] == 0  # by a person, or promised again
    return spent == 0


# The triggers


def _run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _create() -> list[str]:
    vendor = connection.vendor
    serial = {
        "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
        "postgresql": "bigserial PRIMARY KEY",
        "mysql": "bigint AUTO_INCREMENT PRIMARY KEY",
    }[vendor]
    columns = [
        f"{side}_{name} {'varchar(200)' if name in _TEXTS else 'bigint'}"
        for side in ("old", "new")
        for name in _COPIED
    ]
    statements = [
        *_drop(),
        f"CREATE TABLE {_LOG} (id {serial}, delivery bigint, {', '.join(columns)})",
    ]
    if vendor == "postgresql":
        body = " ELSIF ".join(
            f"TG_OP = '{operation}' THEN {_insert(*sides)}; " for operation, *sides in _OPERATIONS
        )
        function = f"CREATE FUNCTION {_LOG}() RETURNS trigger LANGUAGE plpgsql AS"
        trigger = f"CREATE TRIGGER {_LOG} AFTER INSERT OR UPDATE OR DELETE ON {_TABLE}"
        return [
            *statements,
            f"{function} $$ BEGIN IF {body} END IF; RETURN NULL; END $$",
            f"{trigger} FOR EACH ROW EXECUTE FUNCTION {_LOG}()",
        ]
    for operation, *sides in _OPERATIONS:
        insert = _insert(*sides)
        body = f"BEGIN {insert}; END" if vendor == "sqlite" else insert
        statements.append(
            f"CREATE TRIGGER {_LOG}_{operation} AFTER {operation} ON {_TABLE} FOR EACH ROW {body}"
        )
    return statements


# What happened, and which of the two versions of the row there are: old, new
_OPERATIONS = (("INSERT", False, True), ("UPDATE", True, True), ("DELETE", True, False))


def _insert(has_old: bool, has_new: bool) -> str:
    sides = [side for side, there in (("OLD", has_old), ("NEW", has_new)) if there]
    into = [f"{side}_{name}" for side in sides for name in _COPIED]
    values = [f"{side}.{_quoted(name)}" for side in sides for name in _COPIED]
    return (
        f"INSERT INTO {_LOG} (delivery, {', '.join(into).lower()})"
        f" VALUES ({sides[-1]}.id, {', '.join(values)})"
    )


def _quoted(name: str) -> str:
    quoted = connection.ops.quote_name(name)
    # PostgreSQL makes no text of a UUID by itself.
    return f"{quoted}::text" if connection.vendor == "postgresql" and name == "key" else quoted


def _drop() -> list[str]:
    if connection.vendor == "postgresql":
        return [
            f"DROP TRIGGER IF EXISTS {_LOG} ON {_TABLE}",
            f"DROP FUNCTION IF EXISTS {_LOG}()",
            f"DROP TABLE IF EXISTS {_LOG}",
        ]
    triggers = [f"DROP TRIGGER IF EXISTS {_LOG}_{operation}" for operation, *_ in _OPERATIONS]
    return [*triggers, f"DROP TABLE IF EXISTS {_LOG}"]
