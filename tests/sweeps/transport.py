"""The far end of dispatch: what went out, by queue, and a broker that refuses or is down."""

from __future__ import annotations

from reliable_effects.outbox.publisher import Hint, HintRefused

hints: list[tuple[str, list[int]]] = []
refused: set[str] = set()
is_down = False


def send(queue: str, hint: Hint) -> None:
    if is_down:
        raise ConnectionRefusedError("the broker is down")
    if queue in refused:
        raise HintRefused("PRECONDITION_FAILED")
    hints.append((queue, hint["ids"]))


def hinted_ids() -> list[int]:
    return [pk for _, ids in hints for pk in ids]


def reset() -> None:
    global is_down  # noqa: PLW0603  # tests set it by name
    hints.clear()
    refused.clear()
    is_down = False
