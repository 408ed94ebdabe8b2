"""A router that reads from a replica: what a person does to an operation is done where it stands."""

from __future__ import annotations

import pytest

from reliable_effects.console.redriving.models import OperationState, RedriveOperation
from tests.outbox.conftest import poisoned_delivery

from .conftest import OPERATIONS, VIEW, begun

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class ReadsAreStale:
    """Ours alone: who is logged in is known to both."""

    def db_for_read(self, model, **_hints):
        return "other" if model._meta.app_label == "reliable_effects" else "default"

    def db_for_write(self, _model, **_hints):
        return "default"

    def allow_relation(self, *_objects, **_hints):
        return True


@pytest.mark.parametrize(
    ("verb", "state"), [("pause", OperationState.PAUSED), ("cancel", OperationState.CANCELLED)]
)
def test_a_step_of_a_person_is_taken_on_the_writer(log_in, settings, verb, state):
    """On the replica it would be refused, or be undone by the next row that is replicated."""
    operator = log_in(*VIEW, "redrive_delivery")
    poisoned_delivery()
    operation = begun()
    copy = {
        f.attname: getattr(operation, f.attname) for f in RedriveOperation._meta.concrete_fields
    }
    RedriveOperation.objects.using("other").create(**copy)
    settings.DATABASE_ROUTERS = [f"{__name__}.ReadsAreStale"]

    operator.post(f"{OPERATIONS}{operation.pk}/{verb}/", {"why": "the bank is away"})

    written, stale = (
        RedriveOperation.objects.using(alias).get(pk=operation.pk).state
        for alias in ("default", "other")
    )
    assert (written, stale) == (state, OperationState.GATHERING)
