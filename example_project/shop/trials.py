"""
A trial of Plus: it begins now, and its end is a row that waits for a month.

Each of these is one transaction. An end that has come can be neither moved nor cancelled any more;
they say so by giving False, for it may come while a customer looks at the page.
"""

from __future__ import annotations

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction
from django.utils import timezone

from example_project.shop.models import Membership, TrialExpiry
from reliable_effects import WallClock

ZONE = "Europe/Berlin"  # by whose walls our customers live
MONTH = timedelta(days=30)


class AlreadyTried(Exception):
    """This customer has, or had, a trial."""

    def __init__(self, email: str) -> None:
        self.email = email
        super().__init__(f"{email} has had a trial already. There is one for each customer.")


def in_a_month() -> WallClock:
    """At nine in the morning, a month from now, wherever the clocks stand by then."""
    today = timezone.now().astimezone(ZoneInfo(ZONE)).date()
    return WallClock(datetime.combine(today + MONTH, time(9)), ZONE)


def in_seconds(seconds: int) -> datetime:
    """For who wants to watch one end."""
    return timezone.now() + timedelta(seconds=seconds)


def start_trial(email: str, ends: datetime | WallClock) -> TrialExpiry:
    """
    Raises:
        AlreadyTried: nothing was written.
    """
    try:
        with transaction.atomic():
            membership = Membership.objects.create(email=email)
            return TrialExpiry.objects.create(membership=membership, at=ends)
    except IntegrityError as error:
        raise AlreadyTried(email) from error


def move_end(expiry: TrialExpiry, ends: datetime | WallClock) -> bool:
    """Let the trial end at another time."""
    return TrialExpiry.objects.filter(pk=expiry.pk).reschedule(ends) == 1


def subscribe(expiry: TrialExpiry) -> bool:
    """Cancel the end: from now on the customer pays for Plus."""
    with transaction.atomic():
        if not TrialExpiry.objects.filter(pk=expiry.pk).cancel():
            return False
        Membership.objects.filter(pk=expiry.membership_id).update(plan=Membership.Plan.PLUS)
    return True
