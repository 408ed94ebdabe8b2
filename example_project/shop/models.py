"""What the shop sells, what its orders have come to, and whose parcels are free of charge."""

from __future__ import annotations

import secrets

from django.conf import settings
from django.db import models
from django.urls import reverse

from reliable_effects.models import AbstractScheduledJob, JobState

CURSED = "cursed-vase"  # no label sticks to it: a call that can never succeed


def new_reference() -> str:
    """Name an order before it has a row, so that one which rolls back can still be talked about."""
    return "A-" + secrets.token_hex(5).upper()


class Product(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2)

    class Meta:
        ordering = ("pk",)

    def __str__(self) -> str:
        return f"{self.name} ({self.price} €)"


class Order(models.Model):
    """
    An order, and which of its effects are done: that is all it takes to find what is still owed.

    `placed_at` is the `since=` of their owed queries, so it has an index.
    """

    class Status(models.TextChoices):
        PLACED = "placed"
        PAID = "paid"

    reference = models.CharField(max_length=20, unique=True, default=new_reference)
    product = models.ForeignKey(Product, on_delete=models.PROTECT)
    quantity = models.PositiveSmallIntegerField(default=1)
    total = models.DecimalField(max_digits=10, decimal_places=2)
    email = models.EmailField()
    gift = models.BooleanField(default=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True, db_index=True)
    # What has been done about it. Each effect writes its own, and its owed query asks for it.
    charge_id = models.CharField(max_length=40, null=True, blank=True)  # noqa: DJ001  # unknown is not empty
    receipt_sent_at = models.DateTimeField(null=True, blank=True)
    stock_reserved_at = models.DateTimeField(null=True, blank=True)
    crm_told_at = models.DateTimeField(null=True, blank=True)
    counted_at = models.DateTimeField(null=True, blank=True)
    indexed_at = models.DateTimeField(null=True, blank=True)
    wrapped_at = models.DateTimeField(null=True, blank=True)
    label_printed_at = models.DateTimeField(null=True, blank=True)
    # What the carrier told last, and the number that it gave to that.
    parcel_status = models.CharField(max_length=20, blank=True, default="")
    parcel_version = models.PositiveIntegerField(null=True, blank=True)

    class Meta:
        ordering = ("-pk",)

    def __str__(self) -> str:
        return self.reference

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.reference])


class LoyaltyAccount(models.Model):
    email = models.EmailField(unique=True)
    points = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return self.email


class LoyaltyEntry(models.Model):
    """Points for one order. Nothing here forbids a second row: the effect must not write one."""

    account = models.ForeignKey(LoyaltyAccount, on_delete=models.CASCADE)
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    points = models.PositiveIntegerField()

    class Meta:
        verbose_name_plural = "loyalty entries"

    def __str__(self) -> str:
        return f"{self.points} for {self.order}"


class Capture(models.Model):
    """Money that came, as the bank told. Nothing here forbids a second row: the inbox must."""

    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    charge_id = models.CharField(max_length=40)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    told_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.amount} € for {self.order}"


class Usage(models.Model):
    """What a customer has used of the shop's API: a row for each call, a million a week and more."""

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    at = models.DateTimeField(auto_now_add=True)
    what = models.CharField(max_length=20)
    units = models.PositiveIntegerField(default=1)

    class Meta:
        verbose_name_plural = "usage"
        indexes = [models.Index(fields=["customer", "at"], name="shop_usage_of_customer")]

    def __str__(self) -> str:
        return f"{self.what} at {self.at}"


class Shipment(models.Model):
    order = models.OneToOneField(Order, on_delete=models.CASCADE)
    opened_at = models.DateTimeField(auto_now_add=True, db_index=True)
    carrier_reference = models.CharField(max_length=40, blank=True)

    def __str__(self) -> str:
        return f"shipment of {self.order}"


class Membership(models.Model):
    """Who pays no postage: a month on trial, and then as long as they pay for it."""

    class Plan(models.TextChoices):
        TRIAL = "trial", "on trial"
        PLUS = "plus", "Plus"
        BASIC = "basic", "Basic"

    email = models.EmailField(unique=True)  # one trial in a life
    plan = models.CharField(max_length=10, choices=Plan, default=Plan.TRIAL)

    def __str__(self) -> str:
        return self.email


class TrialExpiry(AbstractScheduledJob):
    """
    The end of a trial, a row from the day it begins: it can be listed, moved and cancelled until
    its time has come. Then it becomes the event, and is that event's subject.
    """

    emits = "shop.trial_ended"

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE)
    told_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta(AbstractScheduledJob.Meta):
        ordering = ("at",)
        verbose_name_plural = "trial expiries"

    def __str__(self) -> str:
        return f"trial of {self.membership}"

    @property
    def reference(self) -> str:
        """What partners know it by."""
        return f"T-{self.pk}"

    @property
    def outcome(self) -> str:
        """What a customer calls the state."""
        return "ended" if self.state == JobState.DONE else self.get_state_display()

    def get_absolute_url(self) -> str:
        return reverse("trial", args=[self.pk])
