"""A broker in memory: `RELIABLE_EFFECTS["TRANSPORT"]`. What is in flight may be lost, doubled, late."""

from __future__ import annotations

from typing import Any

in_flight: list[dict[str, Any]] = []


def send(_queue: str, hint: dict[str, Any]) -> None:
    in_flight.append(hint)
