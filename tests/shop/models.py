"""The smallest shop: a subject, and rows that its effects write."""

from __future__ import annotations

import uuid

from django.db import models


class Order(models.Model):
    status = models.CharField(max_length=20, default="placed")
    charge_id = models.CharField(max_length=80, blank=True)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"order {self.pk}"


class LedgerEntry(models.Model):
    """One line for each time an effect did something; the tests' outside world."""

    order_pk = models.IntegerField()
    what = models.CharField(max_length=80)
    key = models.CharField(max_length=80)


class Parcel(models.Model):
    """What a carrier tells of, in versions that it counts."""

    status = models.CharField(max_length=20, blank=True)
    told_version = models.PositiveIntegerField(null=True)


class Crate(models.Model):
    """A subject whose key is no number."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    owner = models.CharField(max_length=80)


class Shelf(models.Model):
    """A subject whose key is whatever somebody has typed."""

    code = models.CharField(primary_key=True, max_length=80)


class GiftOrder(Order):
    """The same row by another name."""

    class Meta:
        proxy = True
