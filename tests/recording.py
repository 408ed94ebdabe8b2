"""A transport that sends nowhere and remembers: `RELIABLE_EFFECTS["TRANSPORT"]` by dotted path."""

from __future__ import annotations

from typing import Any

sent: list[tuple[str, dict[str, Any]]] = []


def send(queue: str, hint: dict[str, Any]) -> None:
    sent.append((queue, hint))


def ids_sent(queue: str | None = None) -> list[list[int]]:
    """The ids of each hint to *queue*, or to any."""
    return [hint["ids"] for to, hint in sent if queue in (None, to)]
