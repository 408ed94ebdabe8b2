"""The rows that say which message was handled by whom."""

from __future__ import annotations

from django.db import models

from ..clock import DbNow


class InboxMessage(models.Model):
    """
    One message that one consumer has handled: written with what it changed, and never without.

    `key` is what is unique, and stands for consumer and id to the last character: a column of text
    takes "a1" and "A1" for one on MariaDB, and has an end. Of the payload only a keyed hash is kept.
    """

    consumer = models.CharField(max_length=200)
    message_id = models.CharField(max_length=200, help_text="the middle is cut out of longer ones")
    key = models.UUIDField(unique=True, editable=False)
    payload_hash = models.CharField(max_length=80, blank=True, default="", editable=False)
    received_at = models.DateTimeField(db_default=DbNow())
    conflicts = models.PositiveIntegerField(
        db_default=0, help_text="how often it came again with another payload"
    )
    conflicted_at = models.DateTimeField(null=True, blank=True, help_text="when it last did")

    class Meta:
        app_label = "reliable_effects"
        indexes = [
            models.Index(fields=["consumer", "received_at"], name="re_inbox_consumer"),
            models.Index(fields=["conflicted_at"], name="re_inbox_conflicted"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.consumer} {self.message_id}"


def consumers(using: str, after: str = "", at_most: int = 1000) -> list[str]:
    """
    Whose messages there are, by name, beginning behind *after*: one look into the index for each.

    A DISTINCT would read the whole table. On MariaDB names that differ only in case or accents are
    told as one, and where rows are looked for by name they are; messages are told apart all the same.
    """
    found: list[str] = []
    names = (
        InboxMessage.objects.using(using).order_by("consumer").values_list("consumer", flat=True)
    )
    while len(found) < at_most:
        following = names.filter(consumer__gt=found[-1] if found else after).first()
        if following is None:
            break
        found.append(following)
    return found
