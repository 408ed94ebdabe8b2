"""Who paused and resumed an effect, and why: entries of the admin's log, under the effect's name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.admin.options import get_content_type_for_model
from django.db import router, transaction

from ...controls.models import EffectControl
from ...outbox.admin import looks

_SHOWN = 50


def entries(names: Collection[str]) -> list[tuple[str, str, str]]:
    """When, who and what, newest first. Few: only what concerns effects is looked through."""
    from django.contrib.admin.models import LogEntry  # noqa: PLC0415  # loaded after this module

    rows = LogEntry.objects.filter(
        content_type=get_content_type_for_model(EffectControl), object_id__in=names
    )
    newest = rows.select_related("user").order_by("-action_time", "-pk")[:_SHOWN]
    return [
        (looks.instant(row.action_time), row.user.get_username(), row.get_change_message())
        for row in newest
    ]


@contextmanager
def entry(user: Any, name: str, told: str) -> Iterator[Any]:
    """Written before what it tells of, which is done in the block: both share one fate."""
    from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415  # as above

    with transaction.atomic(using=router.db_for_write(LogEntry)):
        yield LogEntry.objects.create(
            user_id=user,
            content_type=get_content_type_for_model(EffectControl),
            object_id=name,
            object_repr=name[:200],
            action_flag=CHANGE,
            change_message=told,
        )
