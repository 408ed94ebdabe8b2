"""The smallest shop: a subject, and rows that its effects write."""

from __future__ import annotations

from datetime import timedelta

from django.db import models

from reliable_effects.models import AbstractScheduledJob


class Order(models.Model):
    status = models.CharField(max_length=20, default="placed")
    charge_id = models.CharField(max_length=80, blank=True)
    placed_at = models.DateTimeField(auto_now_add=True)


class LedgerEntry(models.Model):
    """One line for each time an effect did something; the tests' outside world."""

    order_pk = models.IntegerField()
    what = models.CharField(max_length=80)
    key = models.CharField(max_length=80)


class TrialExpiry(AbstractScheduledJob):
    """A job with columns of its own."""

    emits = "shop.trial_expired"

    order = models.ForeignKey(Order, models.CASCADE)
    plan = models.CharField(max_length=20, default="pro")


class Reminder(AbstractScheduledJob):
    """One that is deleted when it is done, and of no use after an hour."""

    emits = "shop.reminded"
    when_done = "delete"
    late = timedelta(hours=1)

    class Meta(AbstractScheduledJob.Meta):
        ordering = ("pk",)
