"""Customers: they place orders through the web page, over a socket, several at a time."""

from __future__ import annotations

import random
import re
import secrets
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus

import requests

_PATIENCE = 30  # seconds; longer than the 20 that SQLite may wait for a lock
_TRIES = 5
_OPTION = re.compile(r'<option value="(\d+)"[^>]*>([^<(]+) \(')


@dataclass
class Told:
    """What the customers were told, by order reference."""

    placed: list[str] = field(default_factory=list)
    declined: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)  # no answer, however often they asked


@dataclass(frozen=True, kw_only=True)
class Wish:
    product: str
    quantity: int = 1
    gift: bool = False
    declined: bool = False


def wishes(number: int, *, declined: int = 0, seed: int = 0) -> list[Wish]:
    """Make *number* orders that will be placed, among them *declined* more that roll back."""
    dice = random.Random(seed)
    products = ["Teapot", "Reading lamp", "Chess set", "Umbrella"]
    made = [
        Wish(
            # Every tenth is the vase that no label sticks to, every third is a gift.
            product="Cursed vase" if n % 10 == 4 else dice.choice(products),
            quantity=dice.randint(1, 3),
            gift=n % 3 == 0,
        )
        for n in range(number)
    ]
    made += [Wish(product=dice.choice(products), declined=True) for _ in range(declined)]
    dice.shuffle(made)
    return made


class Customers:
    """A crowd of *threads* customers in front of one shop."""

    def __init__(self, shop: str, wanted: list[Wish], *, threads: int = 4, pace: float = 0) -> None:
        """`pace`: seconds each customer rests after an order."""
        self.told = Told()
        self._shop = shop.rstrip("/") + "/"
        self._queue: Iterator[Wish] = iter(wanted)
        self._lock = threading.Lock()
        self._threads = threads
        self._pace = pace
        self._away = threading.Event()
        self._running: list[Future[None]] = []

    def start(self) -> None:
        pool = ThreadPoolExecutor(self._threads, thread_name_prefix="customer")
        self._running = [pool.submit(self._shop_around) for _ in range(self._threads)]
        pool.shutdown(wait=False)  # no more customers than these

    @property
    def are_done(self) -> bool:
        return all(customer.done() for customer in self._running)

    def wait(self) -> Told:
        """Wait until all orders are placed; raise what a customer stumbled over."""
        try:
            for customer in self._running:
                customer.result()
        finally:
            self.send_away()
        return self.told

    def send_away(self) -> None:
        """Place nothing more; those who wait for an answer get it first."""
        self._away.set()

    def _shop_around(self) -> None:
        with requests.Session() as session:
            session.headers["User-Agent"] = "customer"
            products = self._products(session)
            while (wish := self._next()) is not None and not self._away.is_set():
                self._place(session, products, wish)
                self._away.wait(self._pace)

    def _next(self) -> Wish | None:
        with self._lock:
            return next(self._queue, None)

    def _products(self, session: requests.Session) -> dict[str, str]:
        page = session.get(self._shop, timeout=_PATIENCE)
        page.raise_for_status()
        return {name.strip(): pk for pk, name in _OPTION.findall(page.text)}

    def _place(self, session: requests.Session, products: dict[str, str], wish: Wish) -> None:
        reference = "A-" + secrets.token_hex(5).upper()
        form = {
            "reference": reference,
            "product": products[wish.product],
            "quantity": wish.quantity,
            "email": f"{secrets.choice(['ada', 'grace', 'alan', 'edsger'])}@example.com",
            "card": "0002" if wish.declined else "4242",
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
        }
        if wish.gift:
            form["gift"] = "on"
        # Without an answer the same form is sent again, as a person would: it is the same order.
        for _ in range(_TRIES):
            if self._away.is_set():
                break
            try:
                answer = session.post(
                    self._shop, data=form, timeout=_PATIENCE, allow_redirects=False
                )
            except requests.RequestException:
                continue
            if answer.status_code == HTTPStatus.FOUND:
                self.told.placed.append(reference)
                return
            if answer.status_code == HTTPStatus.PAYMENT_REQUIRED:
                self.told.declined.append(reference)
                return
            if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise RuntimeError(f"The shop refuses {form}: {answer.status_code} {answer.text}")
        self.told.unknown.append(reference)
