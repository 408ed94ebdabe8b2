"""The rows that are the promise: events, deliveries, the attempts that went wrong, heartbeats."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import connections, models
from django.db.models import Q

from ..clock import DbNow
from ..effects.keys import outgoing_key
from .states import ENDED_WELL, SET_ASIDE, WAITING, Reason, State


class AnyJSON(models.JSONField):
    """
    JSON that never fails to be read: what Python cannot decode (5,000 digits, 10,000 levels) is text.

    Emit refuses such, but a row that somebody edited must not stop those that are read with it.
    """

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return str(value)

    def deconstruct(self) -> Any:
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs  # to migrations it is one


class OutboxEvent(models.Model):
    """A fact that was committed together with the change it announces. Only `forget` updates it."""

    id = models.UUIDField(primary_key=True, editable=False)
    name = models.CharField(max_length=200)
    version = models.PositiveSmallIntegerField(default=1, help_text="of the payload")
    # Two strings and no foreign key: the event outlives the row, and renames of its model.
    subject_model = models.CharField(max_length=200, blank=True)
    subject_pk = models.CharField(max_length=200, blank=True)
    payload = AnyJSON(default=dict)
    correlation = models.UUIDField(help_text="one for all events of a transaction")
    trace_id = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=20, help_text="emit, promise, schedule or reconcile")
    emitted_at = models.DateTimeField(db_default=DbNow())

    class Meta:
        app_label = "reliable_effects"
        verbose_name = "event"
        indexes = [
            models.Index(fields=["subject_model", "subject_pk", "name"], name="re_event_subject"),
            models.Index(fields=["emitted_at"], name="re_event_emitted_at"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.name} {self.subject_model}:{self.subject_pk}"


# Said with a fingerprint, to find the index of groups: PostgreSQL sees that what is equal to something
# is not NULL, and SQLite wants to read it.
ALIKE = Q(state=State.POISONED, fingerprint__isnull=False)

LONGEST_GRACE = timedelta(minutes=10)  # the relay waits for no hint for longer


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """The nouns: which deliveries."""

    def due(self) -> DeliveryQuerySet:
        """What a worker may claim now."""
        return self.filter(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow())

    def waiting(self) -> DeliveryQuerySet:
        return self.filter(state__in=WAITING)

    def in_line(self, queue: str) -> DeliveryQuerySet:
        """What waits in *queue*, what is to be looked at first in front: a walk of one index."""
        waiting = self.filter(look_at__isnull=False)  # nothing else has a look_at
        if connections[self.db].vendor == "mysql":
            # There the index holds what has ended too, in front. Where the queue is "equal", and
            # much of it due, MariaDB walks all of that to come to the rows that we ask for.
            bounded = waiting.filter(queue__gte=queue, queue__lte=queue)
            return bounded.order_by("queue", "look_at")
        return waiting.filter(queue=queue).order_by("look_at")

    def in_front(self, queue: str) -> DeliveryQuerySet:
        """
        What of *queue* a worker may claim now, what is to be looked at first in front.

        Not what was put off, because it is paused or nobody here knows its effect: it waits for
        something else than a worker.
        """
        # By look_at too, as the relay does: what is far away never lies in front.
        near = self.in_line(queue).filter(due_at__lte=DbNow(), look_at__lte=DbNow() + LONGEST_GRACE)
        return near.exclude(hints=0, look_at__gt=DbNow())

    def oldest_due(self) -> datetime | None:
        """Since when the one that has waited longest is due: one end of an index for each state."""
        # Each by itself and in order: for "is there any" PostgreSQL may read the whole table,
        # since a row of many that match should soon come by.
        oldest = [
            self.due()
            .filter(state=state)
            .order_by("due_at")
            .values_list("due_at", flat=True)
            .first()
            for state in WAITING
        ]
        return min((due_at for due_at in oldest if due_at is not None), default=None)

    def overdue(self, by: timedelta) -> DeliveryQuerySet:
        """What was due longer than *by* ago, and still waits."""
        return self.filter(state__in=WAITING, look_at__isnull=False, due_at__lte=DbNow() - by)

    def running(self) -> DeliveryQuerySet:
        return self.filter(state=State.RUNNING)

    def poisoned(self) -> DeliveryQuerySet:
        return self.filter(state=State.POISONED)

    def alike(self, fingerprint: str) -> DeliveryQuerySet:
        """The poison pills of one group of failures; "": those that are in none yet."""
        return self.filter(ALIKE, fingerprint=fingerprint)

    def uncertain(self) -> DeliveryQuerySet:
        return self.filter(state=State.UNCERTAIN)

    def for_subject(self, subject: models.Model) -> DeliveryQuerySet:
        return self.filter(
            event__subject_model=subject._meta.label_lower, event__subject_pk=str(subject.pk)
        )


class Delivery(models.Model):
    """
    The debt: one effect owed because of one event. Narrow, because every state change rewrites it.

    `due_at` says when it may run, and only emit, retry, snooze and redrive write it. `look_at` says
    when the relay next looks at it; NULL where nothing is to be done, or a person must decide.
    """

    id = models.BigAutoField(primary_key=True)
    # No database constraint: its trigger runs at every commit (31 % of a 100-effect emit), and
    # prune is the only one that deletes events.
    event = models.ForeignKey(
        OutboxEvent, models.DO_NOTHING, db_constraint=False, related_name="deliveries"
    )
    effect = models.CharField(max_length=200)
    key = models.UUIDField(unique=True, editable=False)
    generation = models.PositiveSmallIntegerField(default=0)
    queue = models.CharField(max_length=100)
    state = models.PositiveSmallIntegerField(choices=State.choices, default=State.PENDING)
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True, default="")
    due_at = models.DateTimeField(db_default=DbNow())
    look_at = models.DateTimeField(null=True, blank=True)
    hints = models.PositiveSmallIntegerField(default=0, help_text="sent since the last claim")
    attempts = models.PositiveSmallIntegerField(default=0)
    claim_token = models.BigIntegerField(null=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, editable=False)  # in no index: it moves
    worker = models.CharField(max_length=100, blank=True, default="")
    finished_at = models.DateTimeField(null=True, blank=True)
    flags = models.PositiveSmallIntegerField(default=0)
    notes = AnyJSON(null=True, blank=True, help_text="what is rare: see Notes")
    # Of its last attempt. A sweep writes it, since who sets a pill aside has other things to do.
    # Each of our moves into and out of POISONED empties it. The release before this one did not:
    # what it left behind is of no meaning, so whoever reads this says state=POISONED too.
    fingerprint = models.CharField(
        max_length=32,
        blank=True,
        default="",
        db_default="",
        editable=False,
        help_text="equal for equal failures, while it is poisoned",
    )

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        verbose_name_plural = "deliveries"
        # Partial where the database can, so that a sweep touches what waits and nothing else.
        # Elsewhere (MariaDB) they are plain; what has ended has no look_at there.
        indexes = [
            models.Index(
                fields=["queue", "look_at"],
                # Not by the state, so that no query about look_at says one: after an ANALYZE with
                # nothing pending PostgreSQL takes the next index for as good (100,000 rows for 50).
                condition=Q(look_at__isnull=False),
                name="re_delivery_look",
            ),
            models.Index(
                fields=["state", "due_at"],
                condition=Q(state__in=WAITING),
                name="re_delivery_due",
            ),
            models.Index(
                fields=["state", "id"],
                condition=Q(state__in=(State.RUNNING, *SET_ASIDE)),
                name="re_delivery_aside",
            ),
            models.Index(
                fields=["finished_at"],
                condition=Q(state__in=ENDED_WELL),
                name="re_delivery_finished",
            ),
            models.Index(
                # So made that only who names a fingerprint can take it: it comes first, and where it
                # is compared it is not NULL. Else it would be taken, being the smallest, for all that
                # is poisoned in the order of ids, and read to its end for that.
                fields=["fingerprint", "state", "id"],
                condition=ALIKE,
                name="re_delivery_group",
            ),
        ]
        constraints = [
            # The fence: a token, and a lease, exactly while somebody runs it.
            models.CheckConstraint(
                name="re_delivery_token_while_running",
                condition=(
                    Q(
                        state=State.RUNNING,
                        claim_token__isnull=False,
                        lease_expires_at__isnull=False,
                    )
                    | (~Q(state=State.RUNNING) & Q(claim_token__isnull=True))
                ),
            ),
            models.CheckConstraint(
                name="re_delivery_looked_at_while_waiting",
                condition=(
                    Q(state=State.PENDING, look_at__isnull=False)
                    | Q(state=State.UNCERTAIN)
                    | (~Q(state__in=WAITING) & Q(look_at__isnull=True))
                ),
            ),
        ]
        default_permissions = ("view",)
        permissions = [
            ("redrive_delivery", "Can redrive deliveries"),
            ("cancel_delivery", "Can cancel deliveries"),
            ("settle_delivery", "Can say what became of uncertain deliveries"),
            ("start_anew_delivery", "Can start deliveries anew under new keys"),
        ]

    def __str__(self) -> str:
        return f"{self.effect} #{self.pk}"

    @property
    def idempotency_key(self) -> str:
        """What partners see: the same for every attempt, until a person starts it anew."""
        return str(outgoing_key(self.key, self.generation))


class Attempt(models.Model):
    """One try of a delivery that did not end well. Append-only."""

    class Outcome(models.TextChoices):
        FAILED = "failed", "raised an exception"
        TIMED_OUT = "timed out", "was still running at its timeout"
        LOST = "lost", "its worker died, or its lease ended"
        SKIPPED = "skipped", "raised Skip"
        REFUSED = "refused", "raised Poison, or could not be begun"
        UNCERTAIN = "uncertain", "sent, answer never seen"

    # DO_NOTHING and no constraint, as above: prune deletes attempts with their delivery.
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, related_name="attempt_rows"
    )
    number = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(db_default=DbNow())
    outcome = models.CharField(max_length=20, choices=Outcome.choices)
    exception_type = models.CharField(max_length=200, blank=True)
    message = models.TextField(blank=True)
    traceback = models.TextField(blank=True)
    fingerprint = models.CharField(max_length=32, blank=True, help_text="equal for equal failures")
    # The release before this one writes none.
    place = models.CharField(
        max_length=300, blank=True, default="", db_default="", help_text="module:function"
    )
    host = models.CharField(max_length=100, blank=True)
    release = models.CharField(max_length=100, blank=True)

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"attempt {self.number} {self.outcome}"


class Sweep(models.Model):
    """
    The heartbeat of one sweep, or of the claims on one queue (`claims:<queue>`).

    A sweep that stops, sees nothing for too long, or is cut short is an alarm. What tells the two
    latter apart from an ordinary day is counted here, since nobody else remembers the runs before.
    """

    name = models.CharField(max_length=120, primary_key=True)
    ran_at = models.DateTimeField(db_default=DbNow())
    seen = models.PositiveIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    truncated = models.BooleanField(default=False)
    truncated_runs = models.PositiveIntegerField(db_default=0, help_text="running")
    truncated_since = models.DateTimeField(null=True, help_text="since when each run was cut short")
    rows_since = models.DateTimeField(
        null=True, help_text="since when each run saw something; stays when they begin not to"
    )
    empty_since = models.DateTimeField(null=True, help_text="since when no run saw anything")

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return self.name
