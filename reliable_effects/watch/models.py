"""What somebody has been told of, so that nobody is told of it twice, nor forgotten."""

from __future__ import annotations

import logging

from django.db import models

from ..clock import DbNow


class Alert(models.Model):
    """
    One thing that is wrong, or was: one row for each rule and subject, taken up again when it returns.

    `untold` names the channels that have yet to be told how it stands; who tells them is decided
    by a guarded UPDATE of `last_told_at`.
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
