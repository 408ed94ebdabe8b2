"""What a person has said about an effect: it is paused, since when, until when, and why."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from ..clock import DbNow


class EffectControlQuerySet(models.QuerySet["EffectControl"]):
    def paused(self) -> EffectControlQuerySet:
        """Those of which nothing new may begin now."""
        lasts = Q(paused_until=None) | Q(paused_until__gt=DbNow())
        return self.filter(lasts, paused_at__isnull=False)


class EffectControl(models.Model):
    """
    One row for each name of an effect that was ever paused here, aliases included: rows of
    deliveries carry the name of their release, and are compared with this one as they are.
    """

    effect = models.CharField(max_length=200, unique=True)
    paused_at = models.DateTimeField(null=True)  # NULL: it is not paused
    paused_until = models.DateTimeField(null=True)  # NULL: until a person resumes it
    why = models.TextField(blank=True, default="")
    by = models.CharField(max_length=150, blank=True, default="")

    objects = EffectControlQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        verbose_name = "effect"  # what its pages show: every declared one
        default_permissions = ("view",)
        permissions = [("pause_effect", "Can pause and resume effects")]

    def __str__(self) -> str:
        return self.effect
