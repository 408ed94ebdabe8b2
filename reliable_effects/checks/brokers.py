"""Celery's settings, where the project uses Celery to reach its workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core.checks import CheckMessage, Tags, register
from django.db import DatabaseError

from ..conf import NAME, settings
from ..effects.registry import registry
from ..outbox.celery_transport import BrokerFacts, broker_facts, worker_knows_us
from ..outbox.sweeps import tasks
from .catalogue import TAG, found
from .project import readable_settings

_TRIED = ("amqp", "amqps", "pyamqp", "redis", "rediss", "sentinel")
_INTERRUPTIBLE = ("prefork", "processes", "solo")
_PICKLE = {"pickle", "application/x-python-serialize"}
_JSON = {"json", "application/json"}


def facts_in_use() -> BrokerFacts | None:
    """The facts, where hints travel by Celery."""
    known = readable_settings()
    if known is None or known.transport not in ("auto", "celery"):
        return None
    return broker_facts()


@register(TAG)
def check_there_is_celery(**_: Any) -> list[CheckMessage]:
    known, facts = readable_settings(), facts_in_use()
    if known is None or known.transport != "celery" or (facts and facts.broker):
        return []
    if find_spec("celery") is None:
        why, hint = "Celery is not installed", "pip install 'django-reliable-effects[celery]'"
    elif facts is None:
        why = "no Celery app is made when Django starts"
        hint = "In your project's __init__.py: from .celery import app as celery_app"
    else:
        why, hint = "the Celery app has no broker", 'CELERY_BROKER_URL = "redis://localhost:6379/0"'
    return [found("E011", f"{NAME}['TRANSPORT'] is 'celery', but {why}.", hint)]


@register(TAG)
def check_celery(**_: Any) -> list[CheckMessage]:
    facts = facts_in_use()
    if facts is None or not facts.broker:
        return []
    return [*_way(facts), *_queues(facts), *_sweeping(facts, with_rows=False)]


def _way(facts: BrokerFacts) -> Iterator[CheckMessage]:
    if not facts.accepted & _JSON:
        yield found(
            "E012",
            f"accept_content is {sorted(facts.accepted)}; workers would refuse every hint.",
            'CELERY_ACCEPT_CONTENT = ["json"]',
        )
    if facts.accepted & _PICKLE:
        yield found(
            "W028",
            "accept_content has pickle: whoever can write to the broker can run code in workers.",
            'CELERY_ACCEPT_CONTENT = ["json"]',
        )
    if facts.broker not in _TRIED:
        yield found(
            "W020",
            f"The broker is {facts.broker!r}. RabbitMQ and Redis are tested; with others hints may"
            " be late or never come, and then deliveries wait for the relay.",
            'CELERY_BROKER_URL = "redis://localhost:6379/0", or run manage.py effects_worker',
        )
    if facts.pool not in _INTERRUPTIBLE:
        yield found(
            "W021",
            f"worker_pool is {facts.pool!r}: an effect past its timeout cannot be interrupted"
            " there, and a hung one keeps its slot.",
            'CELERY_WORKER_POOL = "prefork"  # or run effects in manage.py effects_worker',
        )
    for pattern in facts.routes:
        yield found(
            "W032",
            f"task_routes[{pattern!r}] has no say: a hint goes to the queue of its effects.",
            f'{NAME} = {{"QUEUE": "…"}}, or @effect(…, queue="…")',
        )


def _queues(facts: BrokerFacts) -> Iterator[CheckMessage]:
    if facts.queues is None and facts.makes_queues:
        return
    for queue in sorted(registry.queues() - (facts.queues or set())):
        if facts.makes_queues:
            yield found(
                "W029",
                f"task_queues has no {queue!r}: a worker without -Q does not consume it.",
                f"Add kombu.Queue({queue!r}) to CELERY_TASK_QUEUES, or start a worker with"
                f" -Q {queue}",
            )
        else:
            yield found(
                "E030",
                f"task_queues has no {queue!r}, and task_create_missing_queues is False: its"
                " hints are refused.",
                f"Add kombu.Queue({queue!r}) to CELERY_TASK_QUEUES",
            )


def _sweeping(facts: BrokerFacts, *, with_rows: bool) -> Iterator[CheckMessage]:
    if settings().sweep_in_workers or with_rows != apps.is_installed("django_celery_beat"):
        return
    scheduled = facts.scheduled | (_in_beat_tables() if with_rows else frozenset())
    for task in tasks():
        if task not in scheduled:
            yield found(
                "W031",
                f"{NAME}['SWEEP_IN_WORKERS'] is False, and beat does not run {task!r}.",
                "manage.py effects_install_beat, or --print for the lines of a plain beat"
                " (effects_worker sweeps, too)",
            )


def _in_beat_tables() -> frozenset[str]:
    beat: Any = apps.get_app_config("django_celery_beat")
    rows = beat.get_model("PeriodicTask").objects
    return frozenset(
        rows.filter(enabled=True, task__in=list(tasks())).values_list("task", flat=True)
    )


@register(Tags.database, TAG)
def check_beat_tables(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """The same question to django-celery-beat, which keeps its answer in rows."""
    facts = facts_in_use()
    if facts is None or not facts.broker or not databases:
        return []
    try:
        return list(_sweeping(facts, with_rows=True))
    except DatabaseError:
        return []  # not migrated yet


@register(TAG, deploy=True)
def check_workers(**_: Any) -> list[CheckMessage]:
    facts = facts_in_use()
    if facts is None:
        return []
    if facts.eager:
        if project.DEBUG:
            return []
        return [
            found(
                "E010",
                "task_always_eager is on: Celery sends nothing, so no worker carries out effects.",
                "CELERY_TASK_ALWAYS_EAGER = False",
            )
        ]
    if not facts.broker or worker_knows_us():
        return []
    return [
        found(
            "W033",
            "The workers of your Celery app would not load reliable_effects.tasks.",
            "app.autodiscover_tasks()  # without a list, or with 'reliable_effects' in it",
        )
    ]
