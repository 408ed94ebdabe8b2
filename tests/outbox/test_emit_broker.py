"""P5: whatever the broker does, emitting does not raise, and does not wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connections, transaction
from django.test import override_settings

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.models import Delivery
from tests.outbox import frozen
from tests.shop.events import order_placed
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hints_to(broker) -> Iterator[object]:
    """The real broker, and emit sends its hints there."""
    frozen.use(broker.url)
    with override_settings(RELIABLE_EFFECTS={"TRANSPORT": "tests.outbox.frozen.send"}):
        yield broker
        broker.heal()
        frozen.close()


def place_order(seconds: list[float]) -> None:
    started = time.monotonic()
    with transaction.atomic():
        order_placed.emit(Order.objects.create())
    seconds.append(time.monotonic() - started)


def in_threads(number: int) -> list[float]:
    """How long each of *number* requests took that came together."""
    seconds: list[float] = []
    gate = threading.Barrier(number)

    def request() -> None:
        gate.wait()
        try:
            place_order(seconds)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=request) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return seconds


def test_eight_requests_before_a_hung_broker_do_not_wait_for_it(hints_to):
    """From the first request of a process on: all are placed."""
    hints_to.freeze()

    seconds = in_threads(8)
    after = in_threads(8)

    assert len(seconds) == len(after) == 8
    assert Delivery.objects.count() == 16 * 3
    # None has waited; on slow cores some seem to have. Each by itself, all eight would.
    assert sum(took > 0.9 for took in seconds) < 5
    assert sum(took > 0.9 for took in after) < 5
    assert max(seconds) < 10  # without a bound: for ever


def test_a_refusing_broker_is_not_waited_for(hints_to):
    """The rows are there at once for whoever sweeps."""
    hints_to.kill()

    seconds = in_threads(4)

    assert len(seconds) == 4
    assert Delivery.objects.due().count() == 4 * 3
    assert eventually(lambda: not dispatch.will_try())


def test_rows_are_free_at_once_while_the_broker_rests(hints_to):
    """No hint follows, so the relay need not wait for one."""
    hints_to.kill()
    place_order([])
    eventually(lambda: not dispatch.will_try())
    Delivery.objects.all().delete()

    place_order([])

    assert not Delivery.objects.filter(hints__gt=0).exists()
