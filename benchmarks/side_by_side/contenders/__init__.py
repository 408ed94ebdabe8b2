"""All contenders, in the order of the tables."""

from __future__ import annotations

from . import (
    celery,
    django_celery_outbox,
    django_jaiminho,
    django_outbox_pattern,
    django_q2,
    django_reliable_outbox,
    django_tasks_db,
    dramatiq,
    huey,
    ours,
    procrastinate,
    raw_sql,
)
from .contender import Contender, Kind

__all__ = ["CONTENDERS", "Contender", "Kind", "contender"]

CONTENDERS: tuple[Contender, ...] = (
    *raw_sql.CONTENDERS,
    *ours.CONTENDERS,
    *celery.CONTENDERS,
    *procrastinate.CONTENDERS,
    *django_tasks_db.CONTENDERS,
    *django_q2.CONTENDERS,
    *django_reliable_outbox.CONTENDERS,
    *django_jaiminho.CONTENDERS,
    *django_celery_outbox.CONTENDERS,
    *django_outbox_pattern.CONTENDERS,
    *dramatiq.CONTENDERS,
    *huey.CONTENDERS,
)


def contender(name: str) -> Contender:
    for one in CONTENDERS:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in CONTENDERS)
    raise LookupError(f"No contender is called {name!r}. There are: {known}.")
