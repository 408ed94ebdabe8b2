"""Groups of failures: one row for each way in which deliveries became poison pills."""

from __future__ import annotations

from django.db import DEFAULT_DB_ALIAS, models
from django.utils.functional import cached_property

from ...outbox.models import AnyJSON, Attempt
from ...outbox.states import Reason
from .samples import WITHOUT_ATTEMPT, last_attempt
from .states import GroupState

MOST_PILLS = 1_000_000  # of one group are counted; an index-only walk of some 100 ms
MOST_RELEASES = 50  # that a group remembers, the latest


class FailureGroup(models.Model):
    """
    Poison pills with one fingerprint: one effect, one exception's type, one place of the code.

    The sweep `grouping` writes what is counted, people write what they make of it. A group whose
    pills are gone stays, so that whoever sees it again knows what was done the last time.
    """

    id = models.BigAutoField(primary_key=True)
    fingerprint = models.CharField(max_length=32, unique=True, editable=False)
    effect = models.CharField(max_length=200)
    exception_type = models.CharField(max_length=200, blank=True, default="")
    place = models.CharField(max_length=300, blank=True, default="", help_text="module:function")
    reason = models.CharField(max_length=20, choices=Reason.choices, blank=True, default="")

    # A sample, the newest pill. Its text is the person's whom it is about: `erase` takes it away.
    sample_message = models.TextField(blank=True, default="")
    sample_delivery_id = models.BigIntegerField(null=True, blank=True, editable=False)

    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    pills = models.PositiveIntegerField(default=0, help_text="now")
    counted_at = models.DateTimeField(null=True, blank=True)
    total = models.PositiveBigIntegerField(default=0, help_text="ever seen")
    last_release = models.CharField(max_length=100, blank=True, default="")
    releases = AnyJSON(default=list, help_text="the latest in which it was seen")

    state = models.PositiveSmallIntegerField(choices=GroupState.choices, default=GroupState.NEW)
    note = models.TextField(blank=True, default="")
    owner = models.CharField(max_length=150, blank=True, default="")
    acknowledged_at = models.DateTimeField(null=True, blank=True)
    fixed_in = models.CharField(max_length=100, blank=True, default="", help_text="release")
    fixed_at = models.DateTimeField(null=True, blank=True)
    came_back_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        app_label = "reliable_effects"
        verbose_name = "group of failures"
        verbose_name_plural = "groups of failures"
        indexes = [
            models.Index(fields=["pills", "id"], name="re_group_pills"),
            models.Index(fields=["counted_at"], name="re_group_counted"),
            models.Index(fields=["sample_delivery_id"], name="re_group_sample"),
        ]
        default_permissions = ("view",)
        permissions = [("triage_failuregroup", "Can acknowledge groups of failures")]

    def __str__(self) -> str:
        return f"{self.what} in {self.effect}"

    @property
    def what(self) -> str:
        """The exception's name without its module; where none was raised, why it was set aside."""
        return self.exception_type.rpartition(".")[2] or self.get_reason_display() or self.reason

    @cached_property
    def sample_attempt(self) -> Attempt | None:
        """The last attempt of the sample; None where it had none, or both are pruned."""
        if self.sample_delivery_id is None or self.reason in WITHOUT_ATTEMPT:
            return None
        return last_attempt(self._state.db or DEFAULT_DB_ALIAS, self.sample_delivery_id)
