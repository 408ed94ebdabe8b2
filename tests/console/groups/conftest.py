"""Poison pills with the attempts that made them, grouped on demand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from reliable_effects.clock import DbNow
from reliable_effects.console.groups.grouping import group
from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.outbox.models import Attempt, Delivery
from tests.admin.conftest import log_in  # noqa: F401  # a fixture
from tests.forgetting import forget_rows
from tests.outbox.conftest import make_effect, poisoned_delivery  # noqa: F401  # a fixture

LIST = "/admin/reliable_effects/failuregroup/"
VIEW = ("view_failuregroup", "view_delivery", "view_attempt")
REFUSED, TIMED_OUT = "a" * 32, "b" * 32

_hosts = itertools.count(1)


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> None:
    forget_rows()


def pill(fingerprint: str = REFUSED, *, attempt: dict[str, Any] | None = None, **columns: Any):
    """Set aside after an attempt with *fingerprint*; "" says that nothing was raised."""
    row = poisoned_delivery(**columns)
    raised = {"exception_type": "shop.Refused", "place": "shop.courier:book"} if fingerprint else {}
    told = {
        "number": 8,
        "outcome": Attempt.Outcome.FAILED,
        "message": "the courier refused",
        "host": f"host-1:{next(_hosts)}",
        "release": "v1",
        "ended_at": DbNow(),
        **raised,
        **(attempt or {}),
    }
    Attempt.objects.create(delivery=row, fingerprint=fingerprint, **told)
    return row


def grouped() -> Swept:
    """What one sweep does."""
    return group("default")


def the_group(fingerprint: str = REFUSED) -> FailureGroup:
    return FailureGroup.objects.get(fingerprint=fingerprint)


def fingerprint_of(row: Delivery) -> str:
    return Delivery.objects.values_list("fingerprint", flat=True).get(pk=row.pk)


def page_of(group: FailureGroup) -> str:
    return f"{LIST}{group.pk}/change/"


@pytest.fixture
def triager(log_in):  # noqa: F811  # the fixture
    return log_in(*VIEW, "triage_failuregroup")
