"""A redrive of many: what was asked, how far it is, and which deliveries it is about."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q

from ...clock import DbNow
from ...outbox.models import Delivery


class OperationState(models.IntegerChoices):
    GATHERING = 0, "gathering"
    RUNNING = 1, "running"
    PAUSED = 2, "paused"
    HALTED = 3, "halted"
    CANCELLED = 4, "cancelled"
    DONE = 5, "done"


ACTIVE = (OperationState.GATHERING, OperationState.RUNNING)  # something is released, or will be
RESUMABLE = (OperationState.PAUSED, OperationState.HALTED)
CANCELLABLE = (*ACTIVE, *RESUMABLE)


class Outcome(models.IntegerChoices):
    """What became of one delivery of an operation."""

    WAITING = 0, "not yet released"
    RELEASED = 1, "under way"
    SUCCEEDED = 2, "succeeded"
    SKIPPED = 3, "skipped"
    FAILING = 4, "failing, and tried again"
    FAILED = 5, "failed"
    OTHERWISE = 6, "cancelled or deleted meanwhile"
    LEFT_ALONE = 7, "left alone"


FOLLOWED = (Outcome.RELEASED, Outcome.FAILING)  # their deliveries are looked at again


class RedriveOperation(models.Model):
    """
    Stands in the database of its deliveries. Its sweep alone counts and releases, in a transaction
    that begins with `turn`; people change `state`, each by one guarded UPDATE.
    """

    selection = models.JSONField(default=dict, editable=False)
    said = models.TextField(help_text="the selection in words")
    by = models.CharField(max_length=150)
    why = models.TextField()
    created_at = models.DateTimeField(db_default=DbNow())
    state = models.PositiveSmallIntegerField(
        choices=OperationState.choices, default=OperationState.GATHERING
    )
    turn = models.BigIntegerField(
        default=0, editable=False
    )  # a step that read an older one is late

    # Gathering: one state after the other, each along an index.
    line = models.PositiveSmallIntegerField(default=0, editable=False)
    cursor = models.BigIntegerField(default=0, editable=False)
    gathered_at = models.DateTimeField(null=True, blank=True)

    # The ramp
    canary = models.PositiveIntegerField()
    rate = models.PositiveIntegerField(help_text="released in a minute, at most")
    halt_percent = models.PositiveSmallIntegerField()
    pace = models.PositiveIntegerField(default=0, help_text="under way at once, at most")
    round_known = models.PositiveIntegerField(default=0, editable=False)
    round_failing = models.PositiveIntegerField(default=0, editable=False)
    ramp_began_at = models.DateTimeField(null=True, editable=False)  # outcomes before do not count
    paid_until = models.DateTimeField(null=True, editable=False)  # of the rate
    released_at = models.DateTimeField(null=True, blank=True, help_text="the last of them")
    remark = models.TextField(blank=True, default="", help_text="what it waits for, or halted by")
    history = models.JSONField(default=list, editable=False)  # [[instant, words], …]

    # Counts. SUCCEEDED and so on say what is known; the rest of `released` is under way.
    gathered = models.PositiveIntegerField(default=0)
    released = models.PositiveIntegerField(default=0)
    succeeded = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    failing = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    otherwise = models.PositiveIntegerField(default=0)
    left_alone = models.PositiveIntegerField(default=0)

    ended_at = models.DateTimeField(null=True, blank=True)  # nothing of it is followed any more
    forgotten_at = models.DateTimeField(null=True, editable=False)  # its items are deleted

    class Meta:
        app_label = "reliable_effects"
        verbose_name = "redrive operation"
        indexes = [models.Index(fields=["ended_at"], name="re_redrive_ended")]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"redrive operation {self.pk}"

    @property
    def unreleased(self) -> int:
        return self.gathered - self.released - self.left_alone

    @property
    def under_way(self) -> int:
        known = self.succeeded + self.skipped + self.failing + self.failed + self.otherwise
        return self.released - known

    @property
    def settled(self) -> int:
        """Of which nothing more is expected."""
        ended = self.succeeded + self.skipped + self.failed + self.otherwise
        return ended + self.left_alone


class RedriveItemQuerySet(models.QuerySet["RedriveItem"]):
    def next_in(self, operation: Any) -> RedriveItemQuerySet:
        """What is to be released, in order."""
        return self.filter(operation=operation, outcome=Outcome.WAITING).order_by("pk")

    def followed_in(self, operation: Any) -> RedriveItemQuerySet:
        """What was released and may still change, what is to be looked at first in front."""
        return self.filter(operation=operation, look_at__isnull=False).order_by("look_at")

    def of_delivery(self, pk: int) -> RedriveItemQuerySet:
        """The operations that one delivery was in, newest first: for its history."""
        return self.filter(delivery_id=pk).select_related("operation").order_by("-pk")


class RedriveItem(models.Model):
    """
    One delivery of an operation, and what became of it.

    The audit of each delivery: the operation has an entry in the admin's log, these rows lead from a
    delivery to it. 40,000 entries of one click would bury all others.
    """

    operation = models.ForeignKey(
        RedriveOperation, models.CASCADE, related_name="items", db_index=False
    )
    # As an attempt's: no constraint, and prune does not know of it.
    delivery = models.ForeignKey(
        Delivery, models.DO_NOTHING, db_constraint=False, related_name="redrive_items"
    )
    outcome = models.PositiveSmallIntegerField(choices=Outcome.choices, default=Outcome.WAITING)
    released_at = models.DateTimeField(null=True, blank=True)
    look_at = models.DateTimeField(null=True, editable=False)  # exactly while it is FOLLOWED
    remark = models.CharField(max_length=200, blank=True, default="", help_text="why left alone")

    objects = RedriveItemQuerySet.as_manager()

    class Meta:
        app_label = "reliable_effects"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["operation", "delivery"], name="re_redrive_item_once")
        ]
        indexes = [
            models.Index(fields=["operation", "outcome", "id"], name="re_redrive_item_outcome"),
            # As the deliveries' own: elsewhere than on MariaDB only what is followed is in it.
            models.Index(
                fields=["operation", "look_at"],
                condition=Q(look_at__isnull=False),
                name="re_redrive_item_look",
            ),
        ]

    def __str__(self) -> str:
        return f"delivery {self.delivery_id} in redrive operation {self.operation_id}"
