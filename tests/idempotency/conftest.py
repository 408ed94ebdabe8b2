"""A client that may ask twice, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from reliable_effects.models import IdempotencyRecord, OutboxEvent
from tests.forgetting import forget_rows
from tests.idempotency import views
from tests.shop.models import Order

Post = Callable[..., Any]


@pytest.fixture(autouse=True)
def plan(settings) -> Iterator[views.Plan]:
    """The routes of `views`; each test begins with a view that does what it should."""
    settings.ROOT_URLCONF = views.__name__
    forget_rows()
    views.plan.__init__()
    views.NotThrottled.asked = 0
    yield views.plan
    views.plan.__init__()


@pytest.fixture
def user(db: None) -> Any:  # noqa: ARG001  # it is made in the database
    return get_user_model().objects.create_user("ada")


def poster(user: Any = None, **defaults: Any) -> Post:
    """Sends as *user*: `post("/place/", key="k")`; no key where it is None."""
    client = Client(raise_request_exception=False)
    if user is not None:
        client.force_login(user)

    def post(
        url: str = "/place/", data: Any = '{"a": 1}', *, key: str | None = "k", **options: Any
    ) -> Any:
        headers = options.pop("headers", {})
        if key is not None:
            headers = {**headers, "Idempotency-Key": key}
        if isinstance(data, str):
            options.setdefault("content_type", "application/json")
        return client.post(url, data, headers=headers, **{**defaults, **options})

    return post


@pytest.fixture
def post(user) -> Post:
    return poster(user)


def is_replay(response: Any) -> bool:
    return response.headers.get("Idempotent-Replayed") == "true"


def code(response: Any) -> str:
    """Of a problem document; "" of anything else."""
    if response.headers.get("Content-Type") != "application/problem+json":
        return ""
    return json.loads(response.content)["code"]


def written() -> tuple[int, int]:
    """Orders and events: what a view writes and what it announces share one fate."""
    return Order.objects.count(), OutboxEvent.objects.count()


def record() -> IdempotencyRecord:
    return IdempotencyRecord.objects.get()
