"""
Hints as Celery messages: which app may carry them, and how to send one cheaply and in time.

Comes in: a queue name and a hint. Goes out: a message that a stock Celery worker takes for a
call of `reliable_effects.deliver`. Nothing of the project's changes: not its settings, pools or
producers.

Celery's own `send_task` will not do. Its connections wait for ever for a Redis that hangs, it
retries where a caller waits, and it costs 0.4 ms of preparation that is the same each time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import Any, cast
from uuid import uuid4

from .publisher import Hint, HintRefused

if find_spec("celery"):  # An extra: without it there is no app, and nothing below is reached.
    from celery import Celery, _state
    from kombu import Connection
    from kombu.common import Broadcast, maybe_declare

DELIVER_TASK = "reliable_effects.deliver"

_MILLISECOND = timedelta(milliseconds=1)
STALE = timedelta(minutes=10)  # by then the relay has hinted what was not done, more than once

# Every step on the way to the broker takes at most this long. Callers wait as long in all.
_LIMIT_SECONDS = 1

_LIMITS: dict[str, dict[str, Any]] = {
    "redis": {
        "socket_timeout": _LIMIT_SECONDS,  # kombu's default is to wait for ever
        "socket_connect_timeout": _LIMIT_SECONDS,
        "retry_on_timeout": False,
    },
    "amqp": {
        "read_timeout": _LIMIT_SECONDS,
        "write_timeout": _LIMIT_SECONDS,
        # A confirm is a round trip for what may be lost, and one that never comes hangs the
        # channel's close.
        "confirm_publish": False,
    },
}


def usable_app() -> Celery | None:
    """
    Return the app that the project has configured, where it has a broker and is not eager.

    Loads nothing and makes no app: where none was made, Celery is not in use.
    """
    if "celery.app.base" not in sys.modules:
        return None
    app = _project_app()
    if app is None or app.conf.task_always_eager or not app.conf.broker_write_url:
        return None
    return app


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokerFacts:
    """What the project's Celery settings say, as far as our promises depend on them."""

    broker: str  # the scheme of its address: "redis", "amqps", …; "" where there is none
    eager: bool
    accepted: frozenset[str]  # content types that workers take
    pool: str
    queues: frozenset[str] | None  # that workers consume by default; None: the default queue alone
    makes_queues: bool  # also such as no setting declares
    routes: tuple[str, ...]  # patterns that name our task
    scheduled: frozenset[str]  # names of the tasks in beat's settings


def broker_facts() -> BrokerFacts | None:
    """The facts of the project's app; None where it has none. Loads nothing, connects to nothing."""
    app = _project_app() if "celery.app.base" in sys.modules else None
    if app is None:
        return None
    conf: Any = app.conf
    address = conf.broker_write_url or ""
    if not isinstance(address, str):
        address = next(iter(address), "")
    declared = conf.task_queues
    return BrokerFacts(
        broker=address.partition(":")[0].partition("+")[0],
        eager=bool(conf.task_always_eager),
        accepted=frozenset(conf.accept_content),
        pool=str(conf.worker_pool),
        queues=None if declared is None else frozenset(getattr(q, "name", q) for q in declared),
        makes_queues=bool(conf.task_create_missing_queues),
        routes=tuple(_patterns(conf.task_routes)),
        scheduled=frozenset(entry.get("task", "") for entry in (conf.beat_schedule or {}).values()),
    )


def worker_knows_us() -> bool:
    """Whether a worker of the project's app would load our tasks. Imports its task modules."""
    app: Any = _project_app()
    app.loader.import_default_modules()
    return DELIVER_TASK in app.tasks


class CelerySender:
    """
    Sends hints over one connection of its own. For the publisher's thread alone.

    The first error closes the connection; the next hint opens a new one. Make it where the
    process starts rather than in a request: it imports the broker's client, and that is up to a
    second of work, which nobody should spend waiting for a first hint.
    """

    def __init__(self, app: Celery) -> None:
        with suppress(Exception):  # A wrong address or a missing client shows at the first hint.
            _Link(app)
        self._app = app
        self._link: _Link | None = None
        self._inherited: list[_Link] = []

    def __call__(self, queue: str, hint: Hint) -> None:
        """
        Raises:
            HintRefused: the project's or the broker's own rules forbid this queue.
            Exception: whatever kombu and the broker's client raise when it cannot be reached.
        """
        began_at = time.monotonic()
        link = self._link_here()
        if link is not None:
            try:
                link.send(queue, hint)
            except HintRefused:
                self.close()
                raise
            except Exception:
                self.close()
                # The broker may have been restarted since the last hint. A failure that took
                # its time is no such thing, and another try would take as long.
                if time.monotonic() - began_at > _LIMIT_SECONDS / 2:
                    raise
            else:
                return
        self._link = _Link(self._app)
        try:
            self._link.open()
            self._link.send(queue, hint)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection, without waiting for a farewell."""
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _link_here(self) -> _Link | None:
        link = self._link
        if link is not None and link.pid != os.getpid():
            # The socket under it is the parent's too. Closing it here would close it there.
            self._inherited.append(link)
            link = self._link = None
        return link


class _Link:
    """One connection, and what was prepared and declared on it."""

    def __init__(self, app: Celery) -> None:
        self.pid = os.getpid()
        self._app = app
        self._connection = bounded_connection(app)
        self._addresses: dict[str, tuple[str, str]] = {}
        # Our own protocol 2, whatever the project's setting: workers take both. No `expires`:
        # it is compared with the worker's clock, and one that runs ahead would drop every hint.
        message = app.amqp.as_task_v2("", DELIVER_TASK, args=(), kwargs={}, ignore_result=True)
        # What is empty there no worker asks for; with the shorter way below it was a fifth of what a
        # message costs on RabbitMQ (ADR 0027).
        headers: dict[str, Any] = message.headers
        self._headers = {name: value for name, value in headers.items() if value not in (None, {})}
        self._embed = json.dumps(message.body[2])
        self._priority: int = app.conf.task_default_priority or 0

    def open(self) -> None:
        # `connect()` has a retry of its own, with two seconds of sleep before it; this has none.
        channel: Any = self._connection.default_channel
        if kind_of(self._connection) == "redis":
            # kombu builds a client for each message, and that asks the pool for a connection, which
            # looks whether it is alive. Each of the two is a third of what a message costs.
            client = channel.Client(connection_pool=channel.pool, single_connection_client=True)
            channel.Client = lambda **_: client
        self._channel = channel

    def send(self, queue: str, hint: Hint) -> None:
        exchange, routing_key = self._addresses.get(queue) or self._declare(queue)
        task_id = str(uuid4())
        # What a producer does with its message in the end; the way there is longer than this.
        message = self._channel.prepare_message(
            f"[[{json.dumps(hint)}], {{}}, {self._embed}]",
            priority=self._priority,
            content_type="application/json",
            content_encoding="utf-8",
            headers={**self._headers, "id": task_id, "root_id": task_id, "argsrepr": f"({hint},)"},
            properties={
                "correlation_id": task_id,
                "delivery_mode": 1,  # transient: what a restart of the broker loses, the relay finds
                "expiration": str(int(STALE / _MILLISECOND)),
            },
        )
        self._channel.basic_publish(message, exchange=exchange, routing_key=routing_key)

    def drop(self) -> None:
        # Whatever goes wrong here, the connection is not used again.
        with suppress(Exception):
            if kind_of(self._connection) == "amqp":
                self._connection.collect()  # release() waits for the broker's close-ok
            else:
                self._connection.release()

    def _declare(self, name: str) -> tuple[str, str]:
        """Make sure that the queue exists, and return its exchange and routing key."""
        refusals: tuple[type[BaseException], ...] = (KeyError, *self._connection.channel_errors)
        try:
            queue = self._app.amqp.queues[name]  # the project's, or made as its settings say
            if not isinstance(queue, Broadcast):
                maybe_declare(queue, self._channel)
        except refusals as error:
            raise HintRefused(f"{type(error).__name__}: {error}") from error
        if queue.exchange.type == "direct":
            address = ("", queue.name)
        else:
            conf = self._app.conf
            address = (
                queue.exchange.name or conf.task_default_exchange,
                queue.routing_key or conf.task_default_routing_key,
            )
        self._addresses[name] = address
        return address


def _project_app() -> Celery | None:
    # Not `current_app`: reading it makes an app where there is none. And not the thread's own
    # alone: other threads know the app as the default, and that only where Django's settings
    # were known when it was made.
    state: Any = _state  # private, so celery-types leaves out what we read
    for app in (state._tls.current_app, state.default_app):  # noqa: SLF001  # see above
        if app is not None and not _is_implicit(app):
            return cast("Celery", app)
    made = [app for app in state._get_active_apps() if not _is_implicit(app)]  # noqa: SLF001  # see above
    return made[0] if len(made) == 1 else None


def _patterns(routes: Any) -> list[str]:
    """The patterns of `task_routes` that begin with our name; routing functions stay unasked."""
    if isinstance(routes, Mapping):
        return [name for name in routes if isinstance(name, str) and _is_about_us(name)]
    if isinstance(routes, list | tuple):
        return [name for each in routes for name in _patterns(each)]
    return []


def _is_about_us(pattern: str) -> bool:
    return pattern.startswith("reliable_effects") and fnmatch(DELIVER_TASK, pattern)


def _is_implicit(app: Any) -> bool:
    """Whether Celery made this app by itself, for somebody who asked for one too early."""
    return app.main == "default" and not app.set_as_current


def bounded_connection(app: Celery) -> Connection:
    """A connection of our own, not yet made; no step of it takes longer than a second."""
    connection = app.connection_for_write(connect_timeout=_LIMIT_SECONDS, heartbeat=0)
    connection.transport_options = {
        **(connection.transport_options or {}),
        "max_retries": max(len(connection.alt) - 1, 0),  # each broker of a failover list once
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
        **_LIMITS.get(kind_of(connection), {}),
    }
    return connection


def kind_of(connection: Connection) -> str:
    """What speaks on it: "redis" or "amqp", of those that were tried."""
    return connection.transport.driver_type
