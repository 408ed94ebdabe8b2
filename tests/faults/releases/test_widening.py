"""The next release's migration runs while this one's workers and web processes do."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, models

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.faults.releases.conftest import owed
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def widened():
    """A table that grows a column and an index, as a release may; afterwards it is as before."""
    column = models.CharField(max_length=20, null=True)  # what N-1 leaves out
    column.set_attributes_from_name("of_the_next_release")
    index = models.Index(fields=["worker"], name="re_next_release")
    done = []

    def widen() -> None:
        with connection.schema_editor() as editor:
            column.model = Delivery
            editor.add_field(Delivery, column)
            done.append(lambda e: e.execute(_drop_column(e, column)))
        with connection.schema_editor() as editor:
            editor.add_index(Delivery, index)
            done.append(lambda e: e.remove_index(Delivery, index))

    yield widen
    for undo in reversed(done):
        with connection.schema_editor() as editor:
            undo(editor)


def _drop_column(editor, column: models.Field) -> str:
    names = map(editor.quote_name, (Delivery._meta.db_table, column.column))
    return "ALTER TABLE {} DROP COLUMN {}".format(*names)


@pytest.mark.fault("a migration adds a column and an index under load", rows="D11")
def test_a_table_may_grow_while_workers_run(worker, place, outside, widened, evidence):
    """Whoever deploys migrates first, and replaces the processes afterwards."""
    orders: set[str] = set()
    with worker("yesterday"):
        web = threading.Thread(target=lambda: orders.update(place("yesterday", 60)))
        web.start()
        eventually(outside.calls, within=40)
        widened()
        web.join(60)
        orders |= place("yesterday", 5)
        done = Delivery.objects.filter(state=State.SUCCEEDED)
        eventually(lambda: done.count() == 3 * 65, within=60)

    verdict = outside.judge(owed(orders, "receipt", "charge", "sync"))
    evidence.judged(verdict)
    assert len(orders) == 65
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
