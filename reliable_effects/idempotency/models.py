"""One row for each idempotency key that a client has sent: what is known of it, and its answer."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from ..clock import DbNow
from .digests import of_key
from .states import RecordState


class IdempotencyRecordQuerySet(models.QuerySet["IdempotencyRecord"]):
    """The nouns: which records."""

    def by_key(self, key: str) -> Self:
        """What stands under the key that a client sent, whoever sent it; it is hashed before it is asked for."""
        return self.filter(key__in=of_key(key))

    def uncertain(self) -> Self:
        return self.filter(state=RecordState.UNCERTAIN)

    def in_progress(self) -> Self:
        return self.filter(state=RecordState.IN_PROGRESS)


class IdempotencyRecord(models.Model):
    """
    One key of one client for one operation. It holds no key, no request and no name, only hashes.

    `look_at` says when the sweep next has something to do with it; NULL where a person must decide.
    """

    id = models.BigAutoField(primary_key=True)
    scope = models.CharField(max_length=64, editable=False, help_text="whose, and of what")
    key = models.CharField(max_length=64, editable=False, help_text="HMAC of the client's key")
    fingerprint = models.CharField(max_length=64, editable=False, help_text="HMAC of the request")
    # Beside the scope, which holds the operation too: who asks to be forgotten is found by it.
    principal = models.CharField(max_length=64, editable=False, blank=True, default="")
    operation = models.CharField(max_length=200, help_text="method and route, or its name")
    state = models.PositiveSmallIntegerField(
        choices=RecordState.choices, default=RecordState.IN_PROGRESS
    )
    # Stays when the lease is over: a late first attempt completes what nobody has taken over.
    token = models.BigIntegerField(editable=False)
    foreign = models.BooleanField(default=False, help_text="its view calls other systems")
    lease_expires_at = models.DateTimeField()
    created_at = models.DateTimeField(db_default=DbNow(), help_text="when it was last begun")
    finished_at = models.DateTimeField(null=True, blank=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    headers = models.JSONField(default=list, blank=True, help_text="of the response, some of them")
    body = models.BinaryField(null=True, blank=True)
    omitted = models.BooleanField(default=False, help_text="the body was too large, or streamed")
    expires_at = models.DateTimeField(help_text="until then the key is known")
    body_expires_at = models.DateTimeField(null=True, blank=True)
    look_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=200, blank=True, default="", help_text="why it is so")

    objects = IdempotencyRecordQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        indexes = [
            models.Index(fields=["look_at"], name="re_idempotency_look_at"),
            models.Index(fields=["state", "created_at"], name="re_idempotency_state"),
            models.Index(fields=["principal"], name="re_idempotency_principal"),
        ]
        constraints = [
            # The key first, so that a person who has only that finds it.
            models.UniqueConstraint(fields=["key", "scope"], name="re_idempotency_key"),
            models.CheckConstraint(
                name="re_idempotency_done_has_a_status_or_reason",
                condition=~Q(state=RecordState.DONE) | Q(status__isnull=False) | ~Q(reason=""),
            ),
        ]
        default_permissions = ("view",)
        permissions = [("resolve_idempotencyrecord", "Can resolve uncertain idempotency records")]

    def __str__(self) -> str:
        return f"{self.operation} {self.key[:8]}"
