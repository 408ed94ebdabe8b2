"""A transport to a real broker whose address a test names: TRANSPORT "tests.outbox.frozen.send"."""

from __future__ import annotations

from celery import Celery

from reliable_effects.outbox import dispatch
from reliable_effects.outbox.celery_transport import CelerySender
from reliable_effects.outbox.publisher import Hint

_senders: list[CelerySender] = []


def use(broker_url: str) -> None:
    close()
    _senders.append(CelerySender(Celery("frozen", broker=broker_url, set_as_current=False)))


def close() -> None:
    publisher = dispatch._publishers.get(f"{__name__}.send")
    if publisher is not None:
        publisher.reset()  # no request has waited, so its thread may still be at it
    while _senders:
        _senders.pop().close()


def send(queue: str, hint: Hint) -> None:
    _senders[-1](queue, hint)
