"""
What was ordered in a week: computed by a worker each night, handed to the staff at once.

It has no owed query, and needs none: a report that is asked for and not there is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

from django.db.models import Sum
from django.utils import timezone

from example_project.shop.models import Order
from reliable_effects.reports import report

_WEEK = timedelta(days=7)


def is_staff(user: Any, **_: Any) -> bool:
    return user.is_active and user.is_staff


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def this_week_and_the_last() -> Iterator[dict[str, date]]:
    monday = monday_of(timezone.now().date())
    yield {"week": monday - _WEEK}
    yield {"week": monday}


@report(
    "shop.weekly_usage",
    allowed=is_staff,
    fresh_for=timedelta(hours=1),
    every=timedelta(days=1),
    prebuild=this_week_and_the_last,
    title=lambda week: f"Orders of week {week:%V}",
)
def weekly_usage(week: date) -> Iterator[dict[str, Any]]:
    """Customers by what they ordered in the week that begins on *week*, a Monday."""
    orders = Order.objects.filter(placed_at__date__gte=week, placed_at__date__lt=week + _WEEK)
    by_customer = orders.order_by("email").values("email", "product__slug")
    yield from by_customer.annotate(pieces=Sum("quantity"), paid=Sum("total")).iterator()
