"""Calls to the partners: what they have in common, and what one of them may be asked afterwards."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import requests
from django.conf import settings

from reliable_effects import EffectContext
from reliable_effects.outgoing import Header

KEY = Header("Idempotency-Key")
A_DAY = timedelta(hours=24)  # they promise to remember keys so long

_WAIT = (1.0, 3.0)  # seconds to connect, seconds to answer


def call(
    partner: str,
    ctx: EffectContext[Any],
    *,
    window: timedelta | None = A_DAY,
    headers: dict[str, str] | None = None,
    **body: object,
) -> dict[str, Any]:
    """
    Ask *partner* to do something, once, and give its answer.

    What goes wrong is a `SendError`, and ends the run as it should: tried again, snoozed,
    poisoned, or uncertain.
    """
    url = f"{settings.PARTNERS_URL}/{partner}"
    response = ctx.send("POST", url, key=KEY, window=window, json=body, headers=headers)
    answer: dict[str, Any] = response.json()
    return answer


def find_payment(key: str) -> dict[str, Any] | None:
    """
    Ask what became of the payment with *key*: its answer, or None where it was never made.

    Raises:
        requests.RequestException: the partner does not say.
    """
    response = requests.get(
        f"{settings.PARTNERS_URL}/payment/find", params={"key": key}, timeout=_WAIT
    )
    if response.status_code == HTTPStatus.NOT_FOUND:
        return None
    response.raise_for_status()
    return response.json()
