"""
What each statement of a block touched: rows that were really read, and the indexes of its plan.

PostgreSQL tells by EXPLAIN ANALYZE, which carries a statement out; here in a savepoint that is
rolled back before the statement itself runs. MariaDB counts the rows that a session reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection

TABLES = (
    "reliable_effects_delivery",
    "reliable_effects_outboxevent",
    "reliable_effects_attempt",
    "reliable_effects_scheduledjob",
    "trials_trialexpiry",
    "reliable_effects_inboxmessage",
)


@dataclass(frozen=True)
class Statement:
    """One statement about our tables, as it ran."""

    sql: str
    rows: int  # read, whether or not they were wanted
    indexes: frozenset[str]
    plan: str

    @property
    def sorts(self) -> bool:
        return "Sort" in self.plan or "filesort" in self.plan


class Touched(list[Statement]):
    @property
    def rows(self) -> int:
        return sum(statement.rows for statement in self)

    @property
    def indexes(self) -> set[str]:
        return {index for statement in self for index in statement.indexes}

    def beginning(self, verb: str) -> Touched:
        return Touched(statement for statement in self if statement.sql.startswith(verb))


@contextmanager
def touched() -> Iterator[Touched]:
    """Every statement about our tables that the block runs; all of it in one transaction."""
    assert connection.in_atomic_block
    found = Touched()
    watch = _on_postgresql if connection.vendor == "postgresql" else _on_mariadb

    def watching(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any):
        if many or not any(table in sql for table in TABLES):
            return execute(sql, params, many, context)
        return watch(found, lambda: execute(sql, params, many, context), sql, params)

    with connection.execute_wrapper(watching):
        yield found
    assert found, "no statement about our tables was seen"


def _on_postgresql(found: Touched, run: Callable[[], Any], sql: str, params: Any) -> Any:
    cursor = connection.connection.cursor()
    whole = cursor.mogrify(sql, params)
    cursor.execute("SAVEPOINT looking")
    for statement in whole.split(";\n"):  # one message may bring several
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}")
        ((plan,),) = cursor.fetchall()
        found.append(_statement(statement.strip(), plan))
    cursor.execute("ROLLBACK TO SAVEPOINT looking; RELEASE SAVEPOINT looking")
    return run()


def _statement(sql: str, plan: Any) -> Statement:
    plan = plan if isinstance(plan, list) else json.loads(plan)
    rows, indexes = 0, set()
    for node in _nodes(plan[0]["Plan"]):
        if "Index Name" in node:
            indexes.add(node["Index Name"])
        if "Scan" not in node["Node Type"] or node["Node Type"] == "Bitmap Heap Scan":
            continue
        if node["Node Type"] == "Seq Scan":
            indexes.add(f"ALL OF {node['Relation Name']}")
        if "Relation Name" in node or "Index Name" in node:
            passed = node["Actual Rows"]
            for removed in ("Rows Removed by Filter", "Rows Removed by Index Recheck"):
                passed += node.get(removed, 0)
            rows += round(passed * node["Actual Loops"])
    return Statement(sql, rows, frozenset(indexes), json.dumps(plan, indent=1))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


def _on_mariadb(found: Touched, run: Callable[[], Any], sql: str, params: Any) -> Any:
    cursor = connection.connection.cursor()
    plan = ""
    if re.match(r"\s*(SELECT|UPDATE|DELETE)", sql):
        cursor.execute(f"EXPLAIN FORMAT=JSON {sql}", params)
        ((plan,),) = cursor.fetchall()
    before = _read(cursor)
    try:
        return run()
    finally:
        rows = _read(cursor) - before
        indexes = set(re.findall(r'"key": "([^"]+)"', plan))
        indexes |= {f"ALL OF {t}" for t in _whole_tables(plan)}
        found.append(Statement(sql.strip(), rows, frozenset(indexes), plan))


_COUNTERS = """SHOW SESSION STATUS WHERE Variable_name IN
    ('Rows_read', 'Handler_icp_attempts', 'Handler_icp_match')"""


def _read(cursor: Any) -> int:
    """Rows this session has read, those that an index condition refused included."""
    cursor.execute(_COUNTERS)
    said = {name: int(value) for name, value in cursor.fetchall()}
    refused = said["Handler_icp_attempts"] - said["Handler_icp_match"]
    return said["Rows_read"] + refused


def _whole_tables(plan: str) -> list[str]:
    named = re.findall(r'"table_name": "([^"]+)",\s*"access_type": "ALL"', plan)
    return [name for name in named if not name.startswith("<")]  # such as a subquery's result
