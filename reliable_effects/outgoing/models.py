"""What is known of each call, so that a later attempt, on whatever worker, knows it too."""

from __future__ import annotations

from django.db import models

from ..outbox.models import Delivery


class Known(models.TextChoices):
    """What became of a call, as far as anybody knows."""

    UNKNOWN = "unknown", "it may have been carried out"  # also while it is on its way
    NOT_SENT = "not sent", "no byte of it went out"
    TURNED_AWAY = "turned away", "the partner did not look at it"
    IN_PROGRESS = "in progress", "the partner is at it"
    DONE = "done", "carried out"
    REFUSED = "refused", "not carried out, and will not be"


SURELY_NOT = (Known.NOT_SENT, Known.TURNED_AWAY, Known.REFUSED)


class OutgoingCall(models.Model):
    """
    One call under one key: written before its first byte, and again when its outcome is known.

    Found by the key that the partner sees, so it also serves a delivery that was lost and made up.
    Nothing of what was said is kept, only its hash.
    """

    key = models.UUIDField(unique=True, editable=False, help_text="as the partner sees it")
    # No constraint, as in the outbox: a sweep deletes what belongs to no delivery any more.
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, related_name="outgoing_calls"
    )
    call = models.CharField(max_length=100, blank=True)
    target = models.CharField(max_length=200, help_text="method and host")
    request_hash = models.CharField(max_length=64, blank=True, editable=False)
    first_sent_at = models.DateTimeField(
        help_text="when it may first have been carried out: the partner remembers it from then on"
    )
    last_sent_at = models.DateTimeField()
    safe_until = models.DateTimeField(
        null=True, help_text="until then the partner surely knows the key; empty: nobody knows"
    )
    times_sent = models.PositiveIntegerField(default=0)
    known = models.CharField(max_length=20, choices=Known.choices, default=Known.UNKNOWN)
    status = models.PositiveSmallIntegerField(null=True, help_text="of the last answer")
    request_id = models.CharField(max_length=200, blank=True, help_text="the partner's own")
    # New with each send: whoever was overtaken cannot write what it learns.
    send_token = models.BigIntegerField(editable=False)
    # Which finding that it did not happen this send came after; see Notes.DENIED.
    denial = models.PositiveIntegerField(null=True, editable=False)

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ("view",)
        verbose_name = "outgoing call"

    def __str__(self) -> str:
        return f"{self.target} {self.call}: {self.known}"
