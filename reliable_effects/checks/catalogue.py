"""Every check by its id. Ids are stable: projects silence them by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.core import checks

from ..conf import NAME

TAG = "reliable_effects"


@dataclass(frozen=True, slots=True)
class Check:
    """One way to break the promises. `when`: always, or only with --deploy or --database."""

    id: str  # E… is an error, W… a warning
    about: str
    when: str = "always"


CATALOGUE = (
    # The project
    Check("E001", "USE_TZ is off, so instants in rows would be in no known zone"),
    Check("E003", "RELIABLE_EFFECTS has an unknown key, alias or value"),
    Check("E004", "subjects are written to a database that is not swept"),
    Check("E005", "the database is none of PostgreSQL, MariaDB and SQLite"),
    Check("E006", "a database router keeps our tables from a database that needs them"),
    Check("E007", "SQLite without transaction_mode IMMEDIATE: “database is locked” under load"),
    Check("E008", "MariaDB with another isolation level than READ COMMITTED"),
    Check("E009", "AUTOCOMMIT is off, so nothing says when a change is committed"),
    Check("E013", "a dotted path in RELIABLE_EFFECTS cannot be imported"),
    Check("E014", "TIME_ZONE of SQLite or MariaDB: our instants there are in UTC"),
    Check(
        "W060",
        "SQLite without write-ahead log: readers and writers wait for each other",
        "database",
    ),
    Check("E061", "MariaDB tables that cannot keep every letter: use utf8mb4", "database"),
    # Calls to partners
    Check("W095", "a call to a partner may take longer than a run, so slow answers are cut short"),
    # Celery and its broker
    Check("E010", "task_always_eager outside DEBUG: no worker would ever be told", "deploy"),
    Check("E011", "TRANSPORT is 'celery' where there is no Celery app with a broker"),
    Check("E012", "workers do not accept JSON, so they would refuse every hint"),
    Check("W020", "a broker that was never tried"),
    Check("W021", "a worker pool whose effects cannot be interrupted at their timeout"),
    Check("W028", "workers accept pickle: whoever reaches the broker can run code in them"),
    Check("W029", "task_queues leaves out a queue of effects, so plain workers do not consume it"),
    Check("E030", "a queue of effects is not declared, and Celery may not make it"),
    Check("W031", "sweeping in workers is off, and beat does not do it either"),
    Check("W032", "task_routes names our task; hints go to each effect's own queue"),
    Check("W033", "workers would not load our tasks", "deploy"),
    # Events and effects
    Check("E070", "since= of an owed query names no date field of the subject"),
    Check("E071", "the subject of an event or effect is no model"),
    Check("W072", "still_needed= of an effect without a subject, which is never asked"),
    Check("E073", "emits= of a model of jobs names no event about that model"),
    Check("E074", "when_done= of a model of jobs is neither “mark” nor “delete”"),
    Check("W075", "a model of jobs without the index that the sweep reads"),
    Check("E076", "an owed query about another model, or one that cannot be filtered further"),
    # Idempotent views
    Check("E080", "an idempotent view keeps its records on a database that is not swept"),
    Check("E081", "an idempotent view gives stored answers before it asks who may come in"),
    Check("E082", "an idempotent view inside ATOMIC_REQUESTS: no key could be claimed"),
    Check("W083", "an idempotent view takes keys of users, and no middleware knows them"),
    Check("E084", "@idempotent on a view of REST framework, which fails each of its requests"),
    # Consumers
    Check("E090", "two functions consume under one name, so each message reaches only one of them"),
    Check("E091", "INBOX_RETENTION is no longer than a sender repeats its messages"),
    Check("E092", "using= of a consumer names a database that is not swept"),
    # Back pressure
    Check("E100", "a limit of shed_load on a queue in which no effect waits"),
    Check("E101", "a limit of shed_load on an effect that is not declared"),
    # Reports
    Check("E110", "reports are declared, and REPORT_STORE names none that could keep them"),
    Check("E111", "the files of REPORT_STORE lie where the web server hands them to anybody"),
    Check("E112", "REPORT_STORE names an alias that STORAGES has not"),
)

_KNOWN = {check.id for check in CATALOGUE}


def found(id_: str, message: str, hint: str, obj: Any = None) -> checks.CheckMessage:
    """The message of the check *id_*; *hint* can be pasted."""
    if id_ not in _KNOWN:
        raise KeyError(id_)
    kind = checks.Error if id_.startswith("E") else checks.Warning
    return kind(message, hint=hint, obj=obj, id=f"{NAME.lower()}.{id_}")
