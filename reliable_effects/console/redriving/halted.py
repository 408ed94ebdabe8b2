"""An alert for what waits for a person: who began it at night has gone back to bed."""

from __future__ import annotations

from collections.abc import Iterator

from ...watch.rules import MOST_FINDINGS, WARNING, Finding, rule
from ...watch.status import Database
from .models import OperationState, RedriveOperation


def register() -> None:
    """Let the alerts ask about ours."""
    rule("redrive_halted")(_halted)


def _halted(using: str, facts: Database) -> Iterator[Finding]:  # noqa: ARG001  # asked by itself
    rows = RedriveOperation.objects.using(using).filter(state=OperationState.HALTED, ended_at=None)
    for row in rows.order_by("pk")[:MOST_FINDINGS]:
        text = f"{row} on {using} has halted, with {row.unreleased} left"
        yield Finding(str(row.pk), text, WARNING)
