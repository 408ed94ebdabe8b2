"""Customers with orders, events of theirs, and deliveries in any state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.test import APIClient

from reliable_effects.clock import DbNow
from reliable_effects.effects.keys import new_event_id
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import WAITING, State
from reliable_effects.watch import shedding
from tests.forgetting import forget_everything
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture
from tests.shop.models import Order


class CardRefused(Exception):
    """Its message was written for customers."""


@pytest.fixture(autouse=True)
def _the_api(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = "tests.rest_framework.views"
    forget_everything()
    shedding.forget()
    yield
    forget_everything()
    shedding.forget()


def client_of(name: str, **attributes: Any) -> APIClient:
    user, _ = User.objects.get_or_create(username=name, defaults=attributes)
    client = APIClient()
    client.force_login(user)
    return client


@pytest.fixture
def ada() -> APIClient:
    return client_of("ada")


@pytest.fixture
def bob() -> APIClient:
    return client_of("bob")


def order_of(name: str) -> Order:
    return Order.objects.create(charge_id=name)


def event_about(subject: Any, name: str = "shop.order_seen", **columns: Any) -> OutboxEvent:
    return OutboxEvent.objects.create(
        id=new_event_id(),
        name=name,
        subject_model=subject._meta.label_lower if subject else "",
        subject_pk=str(subject.pk) if subject else "",
        correlation=uuid4(),
        source="emit",
        **columns,
    )


def delivery_of(event: OutboxEvent, state: State = State.PENDING, **columns: Any) -> Delivery:
    if state == State.PENDING:
        columns.setdefault("look_at", DbNow())
    if state == State.RUNNING:
        columns |= {"claim_token": 7, "lease_expires_at": DbNow()}
    if state not in (*WAITING, State.RUNNING):
        columns.setdefault("finished_at", DbNow())
    columns = {"effect": "shop.send_receipt", "queue": "effects"} | columns
    return Delivery.objects.create(event=event, key=uuid4(), state=state, **columns)


def emit(event: Any, *subjects: Any) -> list[Any]:
    with transaction.atomic():
        return event.emit_many([(subject, None) for subject in subjects])


Make = Callable[..., Any]
