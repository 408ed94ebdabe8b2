"""Operations at hand, and turns of their sweep."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from reliable_effects.clock import moved
from reliable_effects.console.redriving import operations
from reliable_effects.console.redriving.models import Outcome, RedriveItem, RedriveOperation
from reliable_effects.console.redriving.selection import Selection
from reliable_effects.console.redriving.steps import REDRIVES
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.admin.conftest import log_in
from tests.forgetting import forget_rows
from tests.outbox.conftest import carry_out, make_effect

__all__ = ["log_in", "make_effect"]

ADD = "/admin/reliable_effects/redriveoperation/add/"
OPERATIONS = "/admin/reliable_effects/redriveoperation/"
VIEW = ("view_delivery", "view_redriveoperation")
POISONED = Selection.of_query({"state": ["poisoned"]})


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    forget_rows()
    yield
    forget_rows()


def begun(selection: Selection = POISONED, **options: Any) -> RedriveOperation:
    """An operation that nobody has swept yet."""
    said = {"by": "ada", "why": "the bank is back", "canary": 2, "rate": 600, "halt_percent": 50}
    return operations.begin("default", selection, **said | options)


def swept() -> Swept:
    """One turn of the sweep."""
    swept = sweeps.sweep("default", REDRIVES, now=True)
    assert swept is not None
    return swept


def later(seconds: float = 5) -> Any:
    return moved(timedelta(seconds=seconds))


def seen(operation: RedriveOperation) -> RedriveOperation:
    operation.refresh_from_db()
    return operation


def released(operation: RedriveOperation) -> set[int]:
    """The deliveries that were given back to the workers."""
    out = RedriveItem.objects.filter(operation=operation, released_at__isnull=False)
    return set(out.values_list("delivery_id", flat=True))


def outcomes(operation: RedriveOperation) -> dict[int, Outcome]:
    rows = RedriveItem.objects.filter(operation=operation)
    return {pk: Outcome(n) for pk, n in rows.values_list("delivery_id", "outcome")}


def work() -> None:
    """What workers would do now: each due delivery once."""
    carry_out(*Delivery.objects.filter(state=State.PENDING, claim_token=None))


def page_of(operation: RedriveOperation) -> str:
    return f"{OPERATIONS}{operation.pk}/change/"
