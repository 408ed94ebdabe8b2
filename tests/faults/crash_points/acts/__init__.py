"""What is killed: every act of a client, a worker, a sweep, a person. `ALL` has them by name."""

from __future__ import annotations

from . import emitting, endings, receiving, remedies, requests, running, scheduling, sweeping
from .act import Act

ALL: dict[str, Act] = {
    act.name: act
    for module in (emitting, running, endings, sweeping, remedies, scheduling, requests, receiving)
    for act in module.ACTS
}
