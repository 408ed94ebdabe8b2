"""The loop of `effects_worker`'s children, in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from reliable_effects.outbox.worker import work
from tests.outbox.conftest import pending_delivery

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="it locks no rows"),
]


@pytest.mark.parametrize("harmless", [False, True])
@pytest.mark.parametrize("others", [0, 2])
def test_what_a_sibling_holds_for_a_moment_does_not_wait_for_its_grace(
    make_effect, harmless, others
):
    """
    It looks for work with a picture of a moment ago: what we have marked since it locks, sees that
    it is not due any more, and lets go at the end of its statement. We were to claim it just then.
    """
    done: list[int] = []
    effect = make_effect(lambda _, ctx: done.append(ctx.delivery_id), harmless_to_repeat=harmless)
    rows = [pending_delivery(effect) for _ in range(1 + others)]
    sibling = connection.copy()
    asked = 0

    def holding(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        nonlocal asked
        asked += "SKIP LOCKED" in sql
        if "SKIP LOCKED" not in sql or asked != 2:  # the first one marks, the second claims
            return execute(sql, *rest)
        with sibling.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(
                f"SELECT id FROM {Delivery._meta.db_table} WHERE id = %s FOR UPDATE", [rows[0].pk]
            )
            try:
                return execute(sql, *rest)
            finally:
                cursor.execute("ROLLBACK")

    try:
        with connection.execute_wrapper(holding):
            work((), lambda: False, drain=True)
    finally:
        sibling.close()

    assert sorted(done) == [row.pk for row in rows]
    assert not Delivery.objects.exclude(state=State.SUCCEEDED).exists()
