"""Partners who misbehave, both clients, effects that call one, and a person who looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
import requests

from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery
from reliable_effects.outgoing import Header
from tests.outbox.conftest import _this_process_remembers_nothing, make_effect
from tests.outgoing.partner import Behave, Partner, listening_partner

__all__ = ["_this_process_remembers_nothing", "make_effect"]  # for pytest

KEY = Header("Idempotency-Key")
DAY = timedelta(days=1)


@pytest.fixture
def partner() -> Iterator[Callable[..., Partner]]:
    """`partner(mood, mood, …)`: one that is there until the test ends."""
    with ExitStack() as stack:

        def start(*moods: Behave) -> Partner:
            return stack.enter_context(listening_partner(*moods))

        yield start


@pytest.fixture(params=["requests", "httpx"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Each client in turn, as a project would hold one."""
    with requests.Session() if request.param == "requests" else httpx.Client() as client:
        yield client


def calling(url: str, **options: Any) -> Callable[..., None]:
    """An effect that makes one call; `answers` of it are what came back."""
    answers: list[Any] = []
    options = {"key": KEY, "window": DAY, "json": {"amount": 5}, **options}
    options.setdefault("timeout", timedelta(seconds=5))

    def function(_subject: Any, ctx: Any) -> None:
        answers.append(ctx.send("POST", url, **options))

    function.answers = answers
    return function


def act(verb: Callable[..., Any], delivery: Delivery, **options: Any) -> list[Delivery]:
    """What a person does to it."""
    rows = remedy.of("default", [delivery.pk])
    changed = verb(rows, by="ada", why="asked the bank", **options)
    delivery.refresh_from_db()
    return changed


def settled(delivery: Delivery, *, happened: bool) -> list[Delivery]:
    return act(remedy.settle, delivery, happened=happened)
