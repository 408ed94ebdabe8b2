"""The far end of dispatch: what went out, by queue, and a broker that refuses or is down."""

from __future__ import annotations

from collections.abc import Callable

from reliable_effects.outbox.publisher import Hint, HintRefused

hints: list[tuple[str, list[int]]] = []
refused: set[str] = set()
is_down = False
real_broker: Callable[[str, Hint], None] | None = None


def send(queue: str, hint: Hint) -> None:
    if is_down:
        raise ConnectionRefusedError("the broker is down")
    if queue in refused:
        raise HintRefused("PRECONDITION_FAILED")
    if real_broker is not None:
        real_broker(queue, hint)
    hints.append((queue, hint["ids"]))


def hinted_ids() -> list[int]:
    return [pk for _, ids in hints for pk in ids]


def reset() -> None:
    global is_down, real_broker  # noqa: PLW0603  # tests set them by name
    hints.clear()
    refused.clear()
    is_down = False
    real_broker = None
