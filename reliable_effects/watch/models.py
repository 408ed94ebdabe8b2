"""What somebody has been told of, so that nobody is told of it twice, nor forgotten."""

from __future__ import annotations

import logging
from typing import Any

from django.db import models

from ..clock import DbNow
from ..conf import settings
from .where import Place, where


class Alert(models.Model):
    """
    One thing that is wrong, or was: one row for each rule and subject, taken up again when it returns.

    `untold` names the channels that have yet to be told how it stands; who tells them is decided
    by a guarded UPDATE of `last_tried_at`, and of `last_told_at` where all are to be told.
    """

    class Level(models.IntegerChoices):
        WARNING = logging.WARNING, "warning"
        ERROR = logging.ERROR, "error"

    rule = models.CharField(max_length=50)
    subject = models.CharField(max_length=200, help_text="an effect, a queue, a sweep, …")
    level = models.PositiveSmallIntegerField(choices=Level.choices, default=Level.ERROR)
    text = models.TextField()
    first_seen_at = models.DateTimeField(db_default=DbNow())
    last_seen_at = models.DateTimeField(db_default=DbNow())
    last_told_at = models.DateTimeField(null=True, blank=True)
    last_tried_at = models.DateTimeField(
        null=True, blank=True, help_text="when a channel was last given it, told or not"
    )
    resolved_at = models.DateTimeField(null=True, blank=True)
    count = models.PositiveIntegerField(default=1, help_text="how often it has begun")
    untold = models.CharField(max_length=200, blank=True, default="", help_text="channels")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["rule", "subject"], name="re_alert_rule_subject")
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.subject}"

    @property
    def is_over(self) -> bool:
        return self.resolved_at is not None

    @property
    def is_lasting(self) -> bool:
        """Told before, on another day."""
        told = self.last_told_at or self.first_seen_at
        return not self.is_over and told - self.first_seen_at >= settings().alert_repeat

    @property
    def said(self) -> str:
        """The text as it holds now."""
        if self.is_over:
            return f"over: {self.text}"
        return f"still: {self.text}" if self.is_lasting else self.text

    @property
    def told(self) -> str:
        """What a person is told, with where to look. By its name: we know no address of theirs."""
        place = None if self.is_over else self.place
        return f"{self.said}: see {place.name} in the admin" if place else self.said

    @property
    def place(self) -> Place | None:
        return where(self.rule, self.subject)

    @property
    def owed(self) -> list[str]:
        return [channel for channel in self.untold.split(",") if channel]

    def facts(self, using: str) -> dict[str, Any]:
        """For programs: log records and the webhook."""
        state = "resolved" if self.is_over else "lasting" if self.is_lasting else "raised"
        return {
            "state": state,
            "rule": self.rule,
            "subject": self.subject,
            "level": self.get_level_display(),
            "text": self.text,
            "database": using,
            "first_seen_at": self.first_seen_at.isoformat(),
        }
