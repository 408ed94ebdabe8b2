"""What the project consumes: two functions under one name, rows that go too early or are not swept."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from django.core.checks import CheckMessage, register
from django.db import router

from ..conf import NAME, Settings
from ..inbox.consuming import Consumer, declared
from ..inbox.models import InboxMessage
from .catalogue import TAG, found
from .project import readable_settings


@register(TAG)
def check_consumers(**_: Any) -> list[CheckMessage]:
    """Those in modules that are imported by now: tasks and urls are, when checks are asked."""
    settings = readable_settings()
    if settings is None:
        return []
    consumers = sorted(declared(), key=lambda each: (each.name, each.function))
    return [*_doubled(consumers), *(m for each in consumers for m in _problems(each, settings))]


def _doubled(consumers: list[Consumer]) -> Iterator[CheckMessage]:
    for first, second in pairwise(consumers):
        if first.name == second.name:
            yield found(
                "E090",
                f"{first.function} and {second.function} both consume as {first.name!r}, so each"
                " message reaches only one of them.",
                f'@consume_once("{first.name}_…")  # another name for one of them',
            )


def _problems(consumer: Consumer, settings: Settings) -> Iterator[CheckMessage]:
    span = consumer.redelivered_for
    if span is not None and span >= settings.inbox_retention:
        yield found(
            "E091",
            f"Consumer {consumer.name!r} ({consumer.function}): its sender repeats messages for"
            f" {span}, and their rows go after {settings.inbox_retention}, so a late one would"
            " run again.",
            f'{NAME} = {{"INBOX_RETENTION": timedelta(days={span.days * 2 + 1})}}',
        )
    alias = consumer.using or router.db_for_write(InboxMessage)
    if alias not in settings.databases:
        yield found(
            "E092",
            f"Consumer {consumer.name!r} ({consumer.function}) writes to {alias!r}, where old rows"
            f" are not swept: it is not in {NAME}['DATABASES'].",
            f'@consume_once("{consumer.name}", using="{settings.databases[0]}")',
        )
