"""
A web process of one release; prints what it committed.

`python -m tests.faults.releases.web place 5` places orders;
`… owe` promises a charge for each order there is, as a person's "charge again" would.
"""

# ruff: noqa: E402, T201  # Django is set up before models are imported; what is told is printed
from __future__ import annotations

import os
import sys

import django

django.setup()

from importlib import import_module

from django.db import transaction

from reliable_effects.effects.registry import registry
from tests.shop.models import Order

events = import_module(f"tests.faults.releases.{os.environ['RELEASE']}.events")
PAYLOADS = {
    "yesterday": lambda: events.Ordered(coupon="SPRING"),
    "today": lambda: events.Ordered(coupons=["SPRING"], currency="EUR"),
}


def place(count: str) -> None:
    for _ in range(int(count)):
        with transaction.atomic():
            order = Order.objects.create()
            events.ordered.emit(order, PAYLOADS[os.environ["RELEASE"]]())
        print(f"committed {order.pk}", flush=True)


def owe() -> None:
    charge = registry.effect("release.charge")  # either release knows the old name
    for order in Order.objects.all():
        with transaction.atomic():
            promised = charge.promise(order, PAYLOADS[os.environ["RELEASE"]]())
        print(f"already promised {promised.already_promised}", flush=True)


{"place": place, "owe": owe}[sys.argv[1]](*sys.argv[2:])
