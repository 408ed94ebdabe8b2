"""
What was ordered in a week, for the staff; what a customer used in a week, for the customer.

Each is computed by a worker before anybody asks, and handed out at once. It has no owed query, and needs none: a report that is asked for and not there is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Exists, OuterRef, Sum
from django.utils import timezone

from example_project.shop.models import Order, Usage
from reliable_effects.reports import report

_WEEK = timedelta(days=7)


def is_staff(user: Any, **_: Any) -> bool:
    return user.is_active and user.is_staff


def monday_of(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _begin(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


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


def is_the_customer(user: Any, customer: int, **_: Any) -> bool:
    return user.is_active and (user.is_staff or user.pk == customer)


def who_used_something_lately() -> Iterator[dict[str, Any]]:
    weeks = list(this_week_and_the_last())
    lately = Usage.objects.filter(customer=OuterRef("pk"), at__gte=_begin(weeks[0]["week"]))
    customers = get_user_model().objects.filter(Exists(lately)).values_list("pk", flat=True)
    for pk in customers.iterator():
        for week in weeks:
            yield {"customer": pk, **week}


@report(
    "shop.usage_of_week",
    allowed=is_the_customer,
    fresh_for=timedelta(hours=1),
    every=timedelta(days=1),
    prebuild=who_used_something_lately,
    title=lambda customer, week: f"Usage of week {week:%V}",  # noqa: ARG005  # it is theirs
)
def usage_of_week(customer: int, week: date) -> Iterator[dict[str, Any]]:
    """Each call of a customer in the week that begins on *week*, a Monday, as it comes."""
    begin = _begin(week)
    calls = Usage.objects.filter(customer=customer, at__gte=begin, at__lt=begin + _WEEK)
    yield from calls.order_by("at", "pk").values("at", "what", "units").iterator()
