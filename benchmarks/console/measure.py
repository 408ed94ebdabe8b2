"""How long a page takes, and whose time that is: ours, the database's, or that of a busy machine."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from django.db import connection
from django.test import Client

from .pages import Page
from .sql import is_postgres, value

RUNS = 5
BOUND = 300  # ms
_LONGEST = 2000  # characters of a statement that is shown


@dataclass(frozen=True, slots=True)
class Query:
    sql: str
    params: Any
    seconds: float


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one page; times are milliseconds."""

    page: str
    who: str
    status: int
    queries: int
    first: float  # of the database's caches and ours
    median: float
    slowest: float
    needs: float  # processor time, ours and that of the database's backend: an idle machine's wall
    ours: float
    database: float  # the queries' durations, as we waited for them
    plan: str

    @property
    def is_slow(self) -> bool:
        return self.median > BOUND

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def measure(page: Page, client: Client, who: str) -> Figures:
    """One request, then RUNS more; the median of these is what counts."""
    first = _ask(page, client)
    runs = [_ask(page, client) for _ in range(RUNS)]
    usual = median(run.wall for run in runs)
    worst = max((query for run in runs for query in run.queries), key=lambda query: query.seconds,
                default=None)  # fmt: skip
    return Figures(
        page=page.name,
        who=who,
        status=first.status,
        queries=max(len(run.queries) for run in [first, *runs]),
        first=first.wall,
        median=usual,
        slowest=max(run.wall for run in runs),
        needs=median(run.ours + run.backend for run in runs),
        ours=median(run.ours for run in runs),
        database=median(run.database for run in runs),
        plan=_plan(worst) if worst is not None and usual > BOUND else "",
    )


@dataclass(frozen=True, slots=True)
class _Run:
    status: int
    wall: float
    ours: float
    backend: float
    database: float
    queries: list[Query]


def _ask(page: Page, client: Client) -> _Run:
    queries: list[Query] = []

    def watching(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any
    ) -> Any:
        began = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            queries.append(Query(sql, params, time.perf_counter() - began))

    backend = _backend_seconds()
    began, cpu = time.perf_counter(), time.process_time()
    with connection.execute_wrapper(watching):
        answer = client.get(page.address)
        _ = answer.content
    wall, ours = time.perf_counter() - began, time.process_time() - cpu
    return _Run(
        answer.status_code,
        1000 * wall,
        1000 * ours,
        1000 * (_backend_seconds() - backend),
        1000 * sum(query.seconds for query in queries),
        queries,
    )


_threads: dict[int, int] = {}


def _backend_seconds() -> float:
    """Processor time of what answers us; its parallel helpers are not in it. 0 where it is elsewhere."""
    connection.ensure_connection()
    key = id(connection.connection)
    if key not in _threads:
        _threads[key] = value(
            "SELECT pg_backend_pid()"
            if is_postgres()
            else "SELECT TID FROM information_schema.PROCESSLIST WHERE ID = CONNECTION_ID()"
        )
    thread = _threads[key]
    try:
        return int(Path(f"/proc/{thread}/schedstat").read_text().split()[0]) / 1e9
    except OSError:
        return 0.0


def _plan(query: Query) -> str:
    began = f"{1000 * query.seconds:.0f} ms: {query.sql[:_LONGEST]}"
    with connection.cursor() as cursor:
        explain = "EXPLAIN (ANALYZE, BUFFERS)" if is_postgres() else "ANALYZE FORMAT=JSON"
        if not query.sql.lstrip().upper().startswith("SELECT"):
            return began
        cursor.execute(f"{explain} {query.sql}", query.params)
        return "\n".join([began, *(str(line[0]) for line in cursor.fetchall())])


def load() -> str:
    return " ".join(f"{average:.1f}" for average in os.getloadavg())


def table(found: list[Figures]) -> str:
    """One line a page; where both people ask for it, the slower of the two."""
    worst: dict[str, Figures] = {}
    for each in found:
        if each.page not in worst or each.median > worst[each.page].median:
            worst[each.page] = each
    lines = ["| page | queries | median ms | slowest | needs | ours | database | first |",
             "|---|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for each in sorted(worst.values(), key=lambda figures: -figures.needs):
        refused = "" if each.status == 200 else f" ({each.status})"  # noqa: PLR2004  # HTTP
        lines.append(
            f"| {each.page}{refused} | {each.queries} | {each.median:.0f} | {each.slowest:.0f}"
            f" | {each.needs:.0f} | {each.ours:.0f} | {each.database:.0f} | {each.first:.0f} |"
        )
    return "\n".join(lines)


def write(path: str, found: list[Figures], about: dict[str, Any]) -> None:
    told = {**about, "pages": [each.as_json() for each in found]}
    Path(path).write_text(json.dumps(told, indent=1), encoding="utf-8")
