"""
A project's own models of jobs.

An app of their own, because the shop is also run with earlier releases of the package.
"""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from reliable_effects.models import AbstractScheduledJob
from tests.shop.models import Order


class TrialExpiry(AbstractScheduledJob):
    """A job with columns of its own."""

    emits = "trials.trial_expired"

    order = models.ForeignKey(Order, models.CASCADE)
    plan = models.CharField(max_length=20, default="pro")


class Reminder(AbstractScheduledJob):
    """One that is deleted when it is done, and of no use after an hour."""

    emits = "trials.reminded"
    when_done = "delete"
    late = timedelta(hours=1)

    class Meta(AbstractScheduledJob.Meta):
        ordering = ("pk",)
