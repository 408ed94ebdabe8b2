"""
How a person is told: the log, signals, mail to ADMINS, a webhook.

A channel gets the alerts of one turn together and raises what went wrong; then it is owed them. None
may hold the sweep up, so what goes over a network is waited for in a thread of its own.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from http.client import HTTPException
from typing import Any
from urllib import request
from urllib.error import HTTPError
from urllib.parse import urlsplit

from django.conf import settings as project
from django.core.mail import mail_admins
from django.db import connections

from .. import signals
from ..conf import settings
from .models import Alert

logger = logging.getLogger("reliable_effects")

Channel = Callable[[str, Sequence[Alert]], None]

_MAIL_PATIENCE = 5.0  # seconds; Django's own EMAIL_TIMEOUT is none, and the relay waits meanwhile
_LONGEST_TEXT = 3000  # characters; chats cut or refuse more


def channels_in_use() -> list[str]:
    known = settings()
    used = ["log", "signal"]
    if known.alert_mail_admins and project.ADMINS:
        used.append("mail")
    if known.alert_webhook:
        used.append("webhook")
    return used


def to_log(using: str, alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        # A message for each rule, because trackers group by the message without its arguments.
        logger.log(
            logging.INFO if alert.is_over else alert.level,
            f"alert {alert.rule}: %s",  # noqa: G004  # see above
            alert.told,
            extra={f"alert_{name}": value for name, value in alert.facts(using).items()},
        )


def to_signals(using: str, alerts: Sequence[Alert]) -> None:
    for alert in alerts:
        facts: dict[str, Any] = {
            "rule": alert.rule,
            "subject": alert.subject,
            "text": alert.text,
            "level": alert.level,
            "first_seen_at": alert.first_seen_at,
            "using": using,
        }
        if alert.is_over:
            signals.alert_resolved.send_robust(Alert, **facts)
        else:
            signals.alert_raised.send_robust(Alert, lasting=alert.is_lasting, **facts)


def to_admins(using: str, alerts: Sequence[Alert]) -> None:
    lines = [
        f"{alert.told}\n  {alert.rule}, on {using}, since {alert.first_seen_at:%Y-%m-%d %H:%M} UTC"
        for alert in alerts
    ]
    lines.append("`manage.py effects_status` shows how it stands now.")
    subject = " ".join(_headline(alerts).split())
    _within(_MAIL_PATIENCE, "mail", lambda: mail_admins(subject, "\n\n".join(lines)))


def to_webhook(using: str, alerts: Sequence[Alert]) -> None:
    known = settings()
    body = {
        "v": 1,
        "text": "\n".join(alert.told for alert in alerts)[:_LONGEST_TEXT],  # what chats show
        "alerts": [alert.facts(using) for alert in alerts],
    }
    seconds = known.alert_webhook_timeout.total_seconds()
    # Connecting and the answer may take as long each, and looking up the name has no bound at all.
    _within(2 * seconds, "webhook", lambda: _post(known.alert_webhook, body, seconds))


CHANNELS: dict[str, Channel] = {
    "log": to_log,
    "signal": to_signals,
    "mail": to_admins,
    "webhook": to_webhook,
}


def _headline(alerts: Sequence[Alert]) -> str:
    more = f" (and {len(alerts) - 1} more)" if len(alerts) > 1 else ""
    return f"{alerts[0].said}{more}"[:200]


class _Refused(Exception):
    """The channel's own words, without an address or what it answered: both may hold secrets."""


class _NoRedirect(request.HTTPRedirectHandler):
    """A POST that is sent on arrives as a GET without its body: better to say that it failed."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _post(address: str, body: dict[str, Any], seconds: float) -> None:
    call = request.Request(  # noqa: S310  # http or https: the setting takes nothing else
        address,
        data=json.dumps(body, default=str).encode(),
        headers={"Content-Type": "application/json", "User-Agent": "reliable-effects"},
        method="POST",
    )
    opener = request.build_opener(_NoRedirect)
    try:
        with opener.open(call, timeout=seconds):
            return
    except HTTPError as error:
        why = f"answered {error.code}"
        error.close()
    except (OSError, HTTPException) as error:  # URLError, time-outs and resets are some
        why = f"could not be reached: {type(error).__name__}"
    raise _Refused(f"{urlsplit(address).hostname} {why}")


_at_it: dict[str, threading.Thread] = {}


def _within(seconds: float, name: str, call: Callable[[], None]) -> None:
    """
    Call it in a thread, and wait for *seconds*; one that hangs is not joined by another.

    Raises:
        TimeoutError: it may still arrive; it is told again all the same.
        Exception: whatever *call* raised.
    """
    if name in _at_it and _at_it[name].is_alive():
        raise TimeoutError("an earlier call has not come back")
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:  # noqa: BLE001  # raised again below, where it is handled
            raised.append(error)
        finally:
            connections.close_all()  # a mail backend may keep its queue in rows

    thread = _at_it[name] = threading.Thread(target=run, name=f"effects-{name}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {seconds:g} s")
    if raised:
        raise raised[0]


def forget() -> None:
    """For tests: what hung, hung in another one."""
    _at_it.clear()
