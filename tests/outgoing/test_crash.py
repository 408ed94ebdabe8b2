"""An effect that calls through `ctx.send` may be killed at any query and any line."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reliable_effects.effects.registry import registry
from reliable_effects.outgoing.models import OutgoingCall
from reliable_effects.testing import assert_crash_safe
from tests.outgoing.conftest import DAY, KEY
from tests.outgoing.partner import answer
from tests.shop.models import Order

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.mark.parametrize("window", [DAY, None])
def test_whoever_is_killed_has_charged_once(window, partner, make_effect):
    """Within the window by the key; without one because the partner is asked."""
    bank = partner(answer(200, b'{"id": "ch_1"}'))
    order = Order.objects.create()

    def charge(order, ctx):
        answer = ctx.send(
            "POST", bank.url, key=KEY, window=window, json={}, timeout=timedelta(seconds=5)
        )
        Order.objects.filter(pk=order.pk).update(charge_id=answer.json()["id"])

    def find(order, ctx):
        if ctx.idempotency_key not in bank.keys:
            return False
        Order.objects.filter(pk=order.pk).update(charge_id="ch_1")
        return True

    with registry.scratch():
        effect = make_effect(charge, verify=find if window is None else None)
        assert_crash_safe(effect, order, observe=lambda: set(bank.keys))

    assert len(bank.keys) > 2  # it was killed after a send, too
    assert not OutgoingCall.objects.exists()
