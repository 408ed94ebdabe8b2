"""Limits on what may wait that can never be reached."""

from __future__ import annotations

from typing import Any

from django.conf import settings as project
from django.core.checks import CheckMessage, register
from django.urls import get_resolver

from ..effects.registry import registry
from ..exceptions import UnknownEffect
from ..watch import shedding
from .catalogue import TAG, found
from .project import readable_settings


@register(TAG)
def check_limits(**_: Any) -> list[CheckMessage]:
    if readable_settings() is None:
        return []
    if getattr(project, "ROOT_URLCONF", None):
        # Limits stand in modules of views, which nothing else may have loaded yet.
        get_resolver().url_patterns  # noqa: B018  # it is their loading
    messages = []
    for limit in shedding.declared:
        try:
            queues = limit.queues
        except UnknownEffect as error:
            names = ", ".join(sorted(effect.name for effect in registry.effects()))
            messages.append(found("E101", f"{limit.name}: {error}", f"There are {names}."))
            continue
        known = registry.queues()
        messages += [
            found(
                "E100",
                f"{limit.name}: no effect waits in the queue {queue!r}, so it never fills.",
                f"There are {', '.join(sorted(known))}.",
            )
            for queue in queues
            if queue not in known
        ]
    return messages
