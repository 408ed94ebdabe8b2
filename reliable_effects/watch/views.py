"""The health view, for monitors and load balancers. Anybody may ask; see `health` for what is told."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from . import health
from .status import COUNT_AT_MOST, Database


@login_not_required
@require_safe
def effects(_request: HttpRequest) -> HttpResponse:
    """200 where effects are carried out, else 503."""
    found = health.look()
    return _answer(
        found.is_well,
        problems=found.problems,
        counts_end_at=COUNT_AT_MOST,
        databases=[_shown(database) for database in found.databases],
    )


@login_not_required
@require_safe
def databases(_request: HttpRequest) -> HttpResponse:
    """
    200 where this process can read every database it would write effects to, else 503.

    For load balancers: a web process is no worse for a worker that is away, and to take it out of
    the line would make an outage of a delay.
    """
    problems = health.unreadable()
    return _answer(not problems, problems=problems)


def _answer(is_well: bool, **told: Any) -> HttpResponse:
    answer = JsonResponse(
        {"status": "ok" if is_well else "failing", **told},
        status=200 if is_well else 503,
        headers={"Cache-Control": "no-store"},
    )
    # Django logs each 5xx as an error, which mails ADMINS, and a monitor asks every few seconds.
    answer._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  # how Django's own log_response is told
    return answer


def _shown(database: Database) -> dict[str, Any]:
    return {
        "alias": database.alias,
        "is_readable": not database.problem,
        "poisoned": min(sum(database.poisoned.values()), COUNT_AT_MOST),
        "uncertain": min(sum(database.uncertain.values()), COUNT_AT_MOST),
        "lost_leases": database.lost_leases,
        "queues": [
            {
                "name": queue.name,
                "due": queue.due,
                "oldest_due_seconds": _seconds(queue.oldest_due),
                "running": queue.running,
                "is_consumed": queue.is_consumed,
            }
            for queue in database.queues
        ],
        "sweeps": [
            {
                "name": sweep.name,
                "age_seconds": _seconds(sweep.age),
                "seen": sweep.seen,
                "done": sweep.done,
                "truncated_runs": sweep.truncated_runs,
                "is_stale": sweep.is_stale,
            }
            for sweep in database.sweeps
        ],
    }


def _seconds(span: Any) -> float | None:
    return None if span is None else round(span.total_seconds(), 3)


# Also where ATOMIC_REQUESTS is on: to begin a transaction on a dead database is a traceback.
for _alias in connections:
    effects = transaction.non_atomic_requests(using=_alias)(effects)
    databases = transaction.non_atomic_requests(using=_alias)(databases)
