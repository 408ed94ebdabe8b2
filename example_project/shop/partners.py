"""
Calls to the partners: one POST, with the delivery's idempotency key, and a bound on the wait.

What comes back is sorted into the few cases an effect cares about: an answer, "not now",
"never", and "we cannot know whether it happened".
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any

import requests
from django.conf import settings
from urllib3.exceptions import NewConnectionError

from reliable_effects import EffectContext, Poison, Snooze

_WAIT = (1.0, 3.0)  # seconds to connect, seconds to answer; the effect's own timeout is 5


class PartnerUnreachable(Exception):
    """The connection was never made, so nothing was sent. Trying again is safe."""


class PartnerFailed(Exception):
    """The partner answered that it failed. The same call may work later."""


class AnswerLost(Exception):
    """The call went out and no answer came: it may have been applied, or not."""


def call(partner: str, ctx: EffectContext[Any], **body: object) -> dict[str, Any]:
    """
    Ask *partner* to do something, once: repeats carry the same key, and it knows them by it.

    Raises:
        Snooze: the partner is busy and said until when.
        Poison: the partner refuses this call, and will the next time too.
        PartnerUnreachable, PartnerFailed, AnswerLost: see there.
    """
    try:
        response = requests.post(
            f"{settings.PARTNERS_URL}/{partner}",
            json=body,
            headers={"Idempotency-Key": ctx.idempotency_key},
            timeout=_WAIT,
        )
    except requests.ConnectTimeout as error:
        raise PartnerUnreachable(partner) from error
    except requests.RequestException as error:
        if _was_refused(error):
            raise PartnerUnreachable(partner) from error
        raise AnswerLost(f"{partner} did not answer") from error
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        raise Snooze(timedelta(seconds=float(response.headers.get("Retry-After", "1"))))
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PartnerFailed(f"{partner} answered {response.status_code}")
    if not response.ok:
        raise Poison(f"{partner} refuses the call: {response.status_code} {response.text[:200]}")
    return response.json()


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


def _was_refused(error: requests.RequestException) -> bool:
    """Tell whether there was no connection at all; requests wraps that two layers deep."""
    inner = error.args[0] if error.args else None
    return isinstance(getattr(inner, "reason", None), NewConnectionError)
