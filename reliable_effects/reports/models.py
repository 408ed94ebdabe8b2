"""
The rows: a report and its parameters, the versions of it that were built, who downloaded them.

A version is written before its blob is, and names it. So whatever a crash leaves in a store is
found from here, and the store is never listed: it may be shared with others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import models, router

from ..clock import DbNow
from ..outbox.models import AnyJSON


class VersionState(models.IntegerChoices):
    BUILDING = 0, "building"
    READY = 1, "ready"
    DOOMED = 2, "to be deleted"


class Report(models.Model):
    """
    One report with one set of parameters, and the version that is served.

    Builds are counted: `asked` is the number of the last one that was asked for, `current_number`
    of the one that is served. What lies between them failed, or is under way: the delivery under
    `build_key` says which.
    """

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=200)
    identity = models.CharField(max_length=64, unique=True, editable=False)  # see parameters.py
    parameters = AnyJSON(default=dict)
    # The database holds the pointer: no version that is served can be deleted.
    current = models.ForeignKey(
        "ReportVersion", models.PROTECT, null=True, blank=True, related_name="+"
    )
    current_number = models.PositiveIntegerField(default=0)
    asked = models.PositiveIntegerField(default=0)
    asked_at = models.DateTimeField(null=True, blank=True)
    build_key = models.UUIDField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=DbNow(), editable=False)

    class Meta:
        app_label = "reliable_effects"
        indexes = [models.Index(fields=["name", "id"], name="re_report_name")]
        default_permissions = ("view",)
        permissions = [("rebuild_report", "Can rebuild reports")]

    read_at: datetime  # by the database's clock, where it came from seen_now()

    def __str__(self) -> str:
        return f"{self.name} {self.identity[:8]}"


class ReportVersion(models.Model):
    """One build: the blob it names, and what became of it."""

    id = models.BigAutoField(primary_key=True)
    report = models.ForeignKey(Report, models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(help_text="of the build")
    state = models.PositiveSmallIntegerField(
        choices=VersionState.choices, default=VersionState.BUILDING
    )
    key = models.CharField(max_length=300, unique=True, help_text="of the blob, in the store")
    content_type = models.CharField(max_length=100)
    extension = models.CharField(max_length=20)
    rows = models.PositiveBigIntegerField(default=0, help_text="so far, while it is building")
    size = models.PositiveBigIntegerField(default=0, help_text="bytes, as above")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    etag = models.CharField(max_length=100, blank=True, default="")
    delivery_id = models.BigIntegerField(editable=False)
    started_at = models.DateTimeField(db_default=DbNow(), help_text="what it tells is of then")
    finished_at = models.DateTimeField(null=True, blank=True)
    doomed_at = models.DateTimeField(null=True, blank=True)
    looked_at = models.DateTimeField(
        db_default=DbNow(), editable=False, help_text="whether its blob is there"
    )

    class Meta:
        app_label = "reliable_effects"
        indexes = [
            models.Index(fields=["state", "id"], name="re_report_version_state"),
            models.Index(fields=["state", "looked_at"], name="re_report_version_looked"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.report_id} #{self.number}"


class ReportDownload(models.Model):
    """Who was given which version, and how. Outlives the version, for a year."""

    id = models.BigAutoField(primary_key=True)
    report = models.ForeignKey(Report, models.CASCADE, related_name="downloads")
    number = models.PositiveIntegerField(help_text="of the version")
    sha256 = models.CharField(max_length=64)
    user_pk = models.CharField(max_length=200, blank=True)
    user = models.CharField(max_length=200, blank=True, help_text="as they were called then")
    how = models.CharField(max_length=10, help_text="redirect, stream or compare")
    at = models.DateTimeField(db_default=DbNow())

    class Meta:
        app_label = "reliable_effects"
        indexes = [
            models.Index(fields=["at"], name="re_report_download_at"),
            models.Index(fields=["user_pk"], name="re_report_download_user"),
        ]
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.user} {self.report_id} #{self.number}"


def where_reports_are() -> str:
    """The one database in which reports are, as the router says."""
    return router.db_for_write(Report)


def seen_now(using: str) -> models.QuerySet[Report]:
    """Reports with the version that is served, and when they were read: ages come of that."""
    when: dict[str, Any] = {"read_at": DbNow()}
    return Report.objects.using(using).select_related("current").annotate(**when)
