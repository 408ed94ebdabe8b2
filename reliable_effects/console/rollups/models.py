"""
Small rows that say how it went: every five minutes one for each effect, and one for each queue.

The overview and its charts read these, never the deliveries. They name effects and queues, and hold
no personal data, so `effects_forget` leaves them alone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.db import models

SPAN = timedelta(minutes=5)
"""What one row is about: from its `bucket`, an instant that divides by it in UTC, to the next."""


def bucket_of(at: datetime) -> datetime:
    """The beginning of the five minutes that *at* lies in."""
    seconds = int(SPAN.total_seconds())
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


class EffectRollup(models.Model):
    """
    What happened to one effect in five minutes. Where nothing did, there is no row.

    Each thing is counted in the bucket of its own instant, once, at the earliest a minute after it
    (`counting.SETTLED`). What is committed later than that is not counted: an emit, or an `atomic`
    effect, in a transaction that stays open for longer.
    """

    bucket = models.DateTimeField()
    effect = models.CharField(max_length=200, help_text="the name that its rows had")
    emitted = models.PositiveBigIntegerField(default=0, help_text="deliveries of new events")
    succeeded = models.PositiveBigIntegerField(default=0)
    skipped = models.PositiveBigIntegerField(default=0)
    failed = models.PositiveBigIntegerField(default=0, help_text="attempts that did not end well")
    poisoned = models.PositiveBigIntegerField(
        default=0, help_text="set aside by their last attempt"
    )
    uncertain = models.PositiveBigIntegerField(default=0, help_text="attempts without an answer")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ()  # the overview shows it to who may see deliveries
        # The bucket first: charts and retention read ranges of it. Not unique: who writes holds the
        # cursor's lock, and MariaDB takes names for equal that differ in case.
        indexes = [models.Index(fields=["bucket", "effect"], name="re_effect_rollup")]

    def __str__(self) -> str:
        return f"{self.effect} {self.bucket:%Y-%m-%d %H:%M}"


class QueueRollup(models.Model):
    """
    How one queue stood, as it was last seen in these five minutes; a short peak is not seen.

    Counts end at 10,000 (`conf.MOST_COUNTED`), of all queues together where it is about what runs
    or was set aside: there they are of the newest.
    """

    bucket = models.DateTimeField()
    queue = models.CharField(max_length=100)
    seen_at = models.DateTimeField()
    due = models.PositiveIntegerField(default=0)
    oldest_due = models.PositiveIntegerField(
        null=True, help_text="seconds that the oldest has been due; NULL where none is"
    )
    running = models.PositiveIntegerField(default=0)
    poisoned = models.PositiveIntegerField(default=0)
    uncertain = models.PositiveIntegerField(default=0, help_text="that wait for a person")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ()
        indexes = [models.Index(fields=["bucket", "queue"], name="re_queue_rollup")]

    def __str__(self) -> str:
        return f"{self.queue} {self.bucket:%Y-%m-%d %H:%M}"


class RollupCursor(models.Model):
    """
    How far the counting has come: one row a database, written with what was counted up to there.

    Whoever counts holds its lock, so two sweeps at once count nothing twice.
    """

    THE_ONE = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=THE_ONE)
    began_at = models.DateTimeField(help_text="before it nothing is counted")
    emitted_to = models.DateTimeField(help_text="events before it are counted")
    ended_to = models.DateTimeField(help_text="deliveries that ended before it are counted")
    failed_to = models.DateTimeField(help_text="attempts that ended before it are counted")
    attempt = models.BigIntegerField(default=0, help_text="the last one that is counted")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ()

    def __str__(self) -> str:
        return f"counted to {self.counted_to:%Y-%m-%d %H:%M:%S}"

    @property
    def counted_to(self) -> datetime:
        """Before this instant everything is counted."""
        return min(self.emitted_to, self.ended_to, self.failed_to)
