"""
What partners tell the shop by themselves: that a payment was captured, and where a parcel is.

In goes a call that was applied, out go signed HTTP requests to the shop. Like real senders they send
some messages twice and some in the wrong order, and each until the shop has answered with a 2xx, or
has refused it for good. The dice are seeded.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
import itertools
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

SECRET = os.environ.get("WEBHOOK_SECRET", "between-the-shop-and-its-partners")
PATH = "/webhooks/partners/"

PARCEL = ("collected", "on the way", "delivered")  # each a step, counted from 1
_TWICE = 0.4  # share of messages
_STRAY = 2.5  # seconds by which one may be late, so that the next overtakes it
_STEP = 1.0  # seconds between two steps
_REST = 0.5  # seconds to the next try, twice as much each time
_LONGEST_REST = 4.0
_TRIES = 60
_WAIT = 3.0  # seconds for an answer
_SENDERS = 4  # at once, so that the same message may arrive twice at the same moment
_FOR_GOOD = (400, 401, 404, 409)


def sign(secret: str, message_id: str, stamp: str, body: bytes) -> str:
    """The signature binds id and time too, so that neither can be another's."""
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


@dataclass(slots=True)
class Message:
    """One thing to be told, and how that went."""

    id: str
    body: dict[str, Any]
    tries: int = 0
    answers: list[int] = field(default_factory=list)  # 0 where there was none

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "tries": self.tries, "answers": self.answers, **self.body}


class Webhooks:
    """The messages of all partners, and the threads that send them."""

    def __init__(
        self, shop_url: str, *, secret: str = SECRET, seed: int = 0, step: float = _STEP,
        stray: float = _STRAY,
    ) -> None:  # fmt: skip
        self._url, self._secret = shop_url + PATH, secret
        self._step, self._stray = step, stray
        self._random = random.Random(seed)
        self._messages: dict[str, Message] = {}
        self._line: list[tuple[float, int, str, int]] = []  # when, in what order, id, number of try
        self._count = itertools.count()
        self._changed = threading.Condition()
        self._is_open = True
        self._under_way = 0
        self._threads = [
            threading.Thread(target=self._send_all, daemon=True) for _ in range(_SENDERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def after(self, partner: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
        """*partner* has done what *body* asked for. A repeated call is told of once."""
        told: list[dict[str, Any]] = []
        if partner == "payment":
            told = [
                {"type": "payment.captured", "charge": answer["id"], "amount": body.get("amount")}
            ]
        elif partner == "carrier":
            told = [
                {"type": "parcel.moved", "version": n, "status": status}
                for n, status in enumerate(PARCEL, 1)
            ]
        for n, facts in enumerate(told, 1):
            self._plan(Message(f"{answer['id']}-{n}", facts | {"order": body.get("order")}), n)

    def has_more(self) -> bool:
        """Whether anything is still to be sent, or is being sent."""
        with self._changed:
            return bool(self._line) or self._under_way > 0

    def messages(self) -> list[dict[str, Any]]:
        with self._changed:
            return [message.as_json() for message in self._messages.values()]

    def _plan(self, message: Message, step: int) -> None:
        with self._changed:
            if message.id in self._messages:
                return
            self._messages[message.id] = message
            copies = 2 if self._random.random() < _TWICE else 1
            late = self._random.random() * self._stray
            for _ in range(copies):
                self._push(step * self._step + late, message.id, 1)
                if self._random.random() < 0.5:  # else both at the same moment
                    late = self._random.random() * self._stray

    def _push(self, wait: float, message_id: str, number: int) -> None:
        heapq.heappush(self._line, (time.monotonic() + wait, next(self._count), message_id, number))
        self._changed.notify()

    def _send_all(self) -> None:
        while (due := self._next()) is not None:
            message, number = due
            status = self._send(message)
            with self._changed:
                self._under_way -= 1
                message.tries += 1
                message.answers.append(status)
                if not (200 <= status < 300 or status in _FOR_GOOD) and number < _TRIES:
                    self._push(
                        min(_REST * 2 ** (number - 1), _LONGEST_REST), message.id, number + 1
                    )

    def _next(self) -> tuple[Message, int] | None:
        """The next that is due; None when this is over."""
        with self._changed:
            while self._is_open:
                wait = self._line[0][0] - time.monotonic() if self._line else None
                if wait is not None and wait <= 0:
                    _, _, message_id, number = heapq.heappop(self._line)
                    self._under_way += 1
                    return self._messages[message_id], number
                self._changed.wait(wait)
        return None

    def _send(self, message: Message) -> int:
        """The status that the shop answered with; 0 where it did not."""
        body = json.dumps(message.body).encode()
        stamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": message.id,
            "Webhook-Timestamp": stamp,
            "Webhook-Signature": sign(self._secret, message.id, stamp, body),
        }
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=_WAIT) as response:
                return response.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0
