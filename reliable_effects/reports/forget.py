"""Who downloaded what is about a person: blanked where they ask to be forgotten, the row kept."""

from __future__ import annotations

from django.conf import settings as project

from ..outbox import forget
from ..outbox.forget import Share
from .models import ReportDownload

_GONE = "[forgotten]"
_BATCH = 200  # rows of one statement


def register() -> None:
    """Let `forget` know of our table."""
    forget.also("report downloads", blank)


def blank(using: str, label: str, pk: str, *, even_pending: bool, dry_run: bool) -> Share:  # noqa: ARG001  # nothing waits here
    """In batches, and twice is once."""
    share = Share()
    if label != project.AUTH_USER_MODEL.lower():
        return share
    rows = ReportDownload.objects.using(using).filter(user_pk=pk)
    if dry_run:
        share.blanked = rows.count()
        return share
    while ids := list(rows.order_by("pk").values_list("pk", flat=True)[:_BATCH]):
        found = ReportDownload.objects.using(using).filter(pk__in=ids)
        share.blanked += found.update(user_pk="", user=_GONE)
    return share
