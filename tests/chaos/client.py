"""
Customers who order without a pause: through the shop's page, and through its API with a key.

Who gets no answer asks again with the same reference or the same key, as a person or a program
would. Some API clients repeat what was answered long ago: the answer must be the same, to the byte.
"""

from __future__ import annotations

import hashlib
import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import requests

from tests.chaos.journal import Journal, Line, Told, now

PASSWORD = "of the chaos"  # of users in a throwaway database
GOODS = ("Teapot", "Reading lamp", "Chess set", "Umbrella", "Cursed vase")
SLUGS = ("teapot", "lamp", "chess-set", "umbrella", "cursed-vase")
_DECLINED = 0.06  # share of orders
_PATIENCE = (2, 12)  # seconds to connect, and for an answer
_TRIES = 8
_AGAIN = 0.3  # share of API orders that are sent again after they were answered
_REST = 0.3  # seconds after an attempt without an answer


class Load:
    """
    *threads* customers of each way; `stop()` lets each end what it has begun.

    None begins an order while *crowded* says so: a machine that carries out less than is ordered
    would end with a backlog that says nothing of the shop.
    """

    def __init__(
        self, shop: str, journal: Journal, *, seed: int, pace: float,
        crowded: Callable[[], bool], threads: int = 3,
    ) -> None:  # fmt: skip
        self._shop, self._journal, self._pace, self._seed = shop.rstrip("/"), journal, pace, seed
        self._crowded, self._threads = crowded, threads
        self._away = threading.Event()
        self._running: list[Future[None]] = []

    @property
    def customers(self) -> list[str]:
        """Who logs in to the API: a name, a customer, an e-mail address."""
        return [f"client-{n}@example.com" for n in range(self._threads)]

    def start(self) -> None:
        pool = ThreadPoolExecutor(2 * self._threads, thread_name_prefix="customer")
        for n, customer in enumerate(self.customers):
            self._running += [
                pool.submit(self._go_on, self._order_by_form, n, f"person-{n}@example.com"),
                pool.submit(self._go_on, self._order_by_api, n, customer),
            ]
        pool.shutdown(wait=False)

    def stop(self) -> None:
        self._away.set()
        for customer in self._running:
            customer.result(timeout=_TRIES * (sum(_PATIENCE) + _REST) + 10)

    def _go_on(self, order: Callable[..., None], n: int, customer: str) -> None:
        dice = random.Random(f"{self._seed}-{order.__name__}-{n}")
        with requests.Session() as session:
            while not self._away.is_set():
                if self._crowded():
                    self._away.wait(_REST)
                    continue
                order(session, dice, customer)
                self._away.wait(self._pace * dice.uniform(0.5, 1.5))

    # The page

    def _order_by_form(self, session: requests.Session, dice: random.Random, person: str) -> None:
        if "csrftoken" not in session.cookies:
            page = self._get(session)
            if page is None:
                self._away.wait(_REST)
                return
        declined = dice.random() < _DECLINED
        reference = f"A-{dice.getrandbits(40):010X}"
        form = {
            "reference": reference,
            "product": str(1 + dice.randrange(len(GOODS))),
            "quantity": dice.randint(1, 3),
            "email": person,
            "card": "0002" if declined else "4242",
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
        }
        if dice.random() < 0.3:  # share of gifts
            form["gift"] = "on"
        asked_at, told, tries = now(), Told.UNKNOWN, 0
        while tries < _TRIES:
            tries += 1
            answer = self._post(session, "/", data=form, allow_redirects=False)
            if answer is not None and answer.status_code == HTTPStatus.FOUND:
                told = Told.PLACED
            elif answer is not None and answer.status_code == HTTPStatus.PAYMENT_REQUIRED:
                told = Told.DECLINED
            elif answer is None or answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
                self._away.wait(_REST)
                continue
            else:
                raise RuntimeError(f"The shop refuses {form}: {answer.status_code} {answer.text}")
            break
        self._journal.write(
            Line(
                way="form", name=reference, customer=person, told=told, asked_at=asked_at,
                told_at=now(), tries=tries,
            )
        )  # fmt: skip

    def _get(self, session: requests.Session) -> requests.Response | None:
        try:
            page = session.get(self._shop + "/", timeout=_PATIENCE)
        except requests.RequestException:
            return None
        return page if page.ok else None

    # The API

    def _order_by_api(self, session: requests.Session, dice: random.Random, client: str) -> None:
        session.auth = (client, PASSWORD)
        declined = dice.random() < _DECLINED
        key = str(uuid.UUID(int=dice.getrandbits(128), version=4))
        body = {
            "product": dice.choice(SLUGS),
            "quantity": dice.randint(1, 3),
            "gift": dice.random() < 0.3,  # as above
            "card": "0002" if declined else "4242",
        }
        asked_at, told, answers = now(), Told.UNKNOWN, []
        tries = 0
        while tries < _TRIES:
            tries += 1
            answer = self._post(
                session, "/api/orders/", json=body, headers={"Idempotency-Key": f'"{key}"'}
            )
            ended = answer is not None and answer.status_code in _ENDS
            if not ended:
                self._away.wait(_REST)
                continue
            told = Told.PLACED if answer.status_code == HTTPStatus.ACCEPTED else Told.DECLINED
            answers.append(digest(answer))
            if len(answers) == 2 or dice.random() >= _AGAIN:  # once more at most
                break
        self._journal.write(
            Line(
                way="api", name=key, customer=client, told=told, asked_at=asked_at, told_at=now(),
                tries=tries, answers=tuple(answers),
            )
        )  # fmt: skip

    def _post(self, session: requests.Session, path: str, **what: Any) -> requests.Response | None:
        try:
            return session.post(self._shop + path, timeout=_PATIENCE, **what)
        except requests.RequestException:
            return None


_ENDS = (HTTPStatus.ACCEPTED, HTTPStatus.PAYMENT_REQUIRED)
"""What ends an order; "come again" (409, 503) and errors do not."""


def digest(answer: requests.Response) -> str:
    """Status and body. Headers may tell that it was replayed."""
    text = f"{answer.status_code}\n".encode() + answer.content
    return hashlib.sha256(text).hexdigest()[:16]
