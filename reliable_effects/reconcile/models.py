"""Where each walk over what is owed has come to, and what came of each day's debts."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db import models

from ..clock import in_utc
from ..outbox.models import AnyJSON


class Tier(models.TextChoices):
    """How far a walk looks."""

    RECENT = "recent", "what began to be owed lately"
    ALL = "all", "everything, however old"
    DONE = "done", "what has succeeded, for the coverage"


class Walk(models.Model):
    """
    One walk over the rows that an owed query names: one row for each effect and tier. The one that
    counts what is done follows all effects, and has none.

    A walk may take many turns. What it has seen up to now is in the first columns; `found` is what
    the last whole walk saw, and stays while the next one is under way.
    """

    effect = models.CharField(max_length=200, blank=True, help_text="its oldest name")
    tier = models.CharField(max_length=10, choices=Tier.choices)
    began_at = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True, help_text="when it last had a turn")
    is_under_way = models.BooleanField(default=False)
    place = AnyJSON(null=True, help_text="the last row that was looked at")
    turns = models.PositiveIntegerField(default=0, help_text="in which something was promised")
    seen = models.PositiveBigIntegerField(default=0)
    promised = models.PositiveBigIntegerField(default=0)
    reopened = models.PositiveBigIntegerField(default=0)
    days = AnyJSON(default=dict, help_text="how many of each kind, by the day since")
    problem = models.TextField(blank=True, default="", help_text="why it did not come further")

    ended_at = models.DateTimeField(null=True, help_text="when the last whole walk ended")
    found = AnyJSON(default=dict, help_text="how many of each kind the last whole walk saw")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["effect", "tier"], name="re_walk_once")]

    def __str__(self) -> str:
        return f"{self.effect}, {self.get_tier_display()}"


class CoverageQuerySet(models.QuerySet["Coverage"]):
    def of(self, effect: str) -> CoverageQuerySet:
        """By any name that the effect has or had."""
        from ..effects.registry import registry  # noqa: PLC0415  # not while models are loaded

        known = registry.find_effect(effect)
        return self.filter(effect=known.identity if known else effect)

    def since(self, day: date) -> CoverageQuerySet:
        return self.filter(day__gte=day)

    def with_expected(self) -> CoverageQuerySet:
        """With the sum of all that was owed since that day, as `expected`."""
        sums = sum((models.F(name) for name in _EXPECTED[1:]), start=models.F(_EXPECTED[0]))
        return self.annotate(expected=sums)


class Coverage(models.Model):
    """
    What became of the debts of one effect that began on one day (UTC): owed against done.

    `in_time`, `late` and `unexpected` are counted as deliveries succeed, `missing` as reconcile
    finds that nobody had promised them. The others say what the last walk saw; they go down again
    as the debts are paid.
    """

    effect = models.CharField(max_length=200, help_text="its oldest name")
    day = models.DateField()
    in_time = models.PositiveBigIntegerField(default=0, help_text="done within the grace")
    late = models.PositiveBigIntegerField(default=0, help_text="done after it")
    unexpected = models.PositiveBigIntegerField(default=0, help_text="done, and no event says why")
    missing = models.PositiveBigIntegerField(default=0, help_text="found without a delivery")
    waiting = models.PositiveBigIntegerField(default=0, help_text="past the grace, not done yet")
    poisoned = models.PositiveBigIntegerField(default=0)
    uncertain = models.PositiveBigIntegerField(default=0)
    given_up = models.PositiveBigIntegerField(default=0, help_text="cancelled, or skipped")
    contradicted = models.PositiveBigIntegerField(default=0, help_text="succeeded and still owed")

    objects = CoverageQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        verbose_name_plural = "coverage"
        default_permissions = ("view",)
        ordering = ("-day", "effect")
        constraints = [models.UniqueConstraint(fields=["effect", "day"], name="re_coverage_once")]

    def __str__(self) -> str:
        return f"{self.effect} {self.day}"


# What succeeded and is still owed was counted when it succeeded.
_EXPECTED = ("in_time", "late", "waiting", "poisoned", "uncertain", "given_up")

RESTS: tuple[timedelta, ...] = (timedelta(hours=1), timedelta(days=1), timedelta(weeks=1))
"""How long after its end what is still owed rests, before it is reopened for the n-th time."""


def day_of(since: Any) -> date | None:
    """The day in UTC of a date or an instant; None where nobody knows since when it is owed."""
    return in_utc(since).date() if isinstance(since, datetime) else since


def instant_of(since: Any) -> datetime | None:
    """The same as an instant: of a date its beginning, in UTC."""
    if since is None or isinstance(since, datetime):
        return in_utc(since) if since else None
    return datetime.combine(since, time(), UTC)
