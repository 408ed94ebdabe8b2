"""
What the broker says of itself when it is asked: facts that no setting shows.

For people who look for what is wrong, so it takes its time: a second for each step at most. It asks
over a connection of its own, reads no message and leaves nothing behind.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from .celery_transport import bounded_connection, kind_of, usable_app

_ALARM_WITHIN = 0.5  # seconds; the broker says it when it has read what was published


@dataclass(kw_only=True)
class QueueAnswer:
    name: str
    messages: int | None = None  # None: there is no such queue, or nobody can say
    consumers: int | None = None  # None: the broker does not know, as Redis does not


@dataclass(kw_only=True)
class BrokerAnswer:
    """`problem` says why there is nothing to say. What is None the broker does not tell."""

    kind: str = ""
    version: str = ""
    problem: str = ""
    queues: list[QueueAnswer] = field(default_factory=list)
    eviction: str | None = None  # Redis: what it drops when its memory is full
    memory_limit: int | None = None  # Redis: bytes; 0 is none
    visibility_timeout: float | None = None  # Redis: seconds until a dead worker's messages return
    takes_publishes: bool | None = None  # False under an alarm (RabbitMQ), or where it is full
    confirms: bool | None = None  # RabbitMQ: whether it can say that it has a message


def ask(queues: Iterable[str]) -> BrokerAnswer | None:
    """What the broker of the project's app says, and of *queues*; None where hints use no Celery."""
    app = usable_app()
    if app is None:
        return None
    answer = BrokerAnswer()
    blocked: list[str] = []
    connection: Any = None
    try:
        connection = bounded_connection(app)
        answer.kind = kind_of(connection)
        if answer.kind == "amqp":
            connection.transport_options["on_blocked"] = blocked.append
        channel = connection.default_channel
        if answer.kind == "redis":
            _ask_redis(answer, channel, queues)
        elif answer.kind == "amqp":
            _ask_amqp(answer, connection, queues, blocked)
    except Exception as error:  # noqa: BLE001  # each client has errors of its own
        answer.problem = f"{type(error).__name__}: {error}"
    finally:
        if connection is not None:
            _drop(connection)
    return answer


def _ask_redis(answer: BrokerAnswer, channel: Any, queues: Iterable[str]) -> None:
    # INFO rather than CONFIG, which services that run it for you forbid.
    told = channel.client.info()
    answer.version = str(told.get("redis_version", ""))
    answer.eviction = told.get("maxmemory_policy")
    answer.memory_limit = told.get("maxmemory")
    is_full = 0 < told.get("maxmemory", 0) <= told.get("used_memory", 0)
    answer.takes_publishes = not (is_full and answer.eviction == "noeviction")
    answer.visibility_timeout = float(channel.visibility_timeout)
    for name in queues:
        lists = [channel._q_for_pri(name, step) for step in channel.priority_steps]  # noqa: SLF001  # kombu has no other way to name them
        length = sum(channel.client.llen(each) for each in lists)
        answer.queues.append(QueueAnswer(name=name, messages=length))


def _ask_amqp(
    answer: BrokerAnswer, connection: Any, queues: Iterable[str], blocked: list[str]
) -> None:
    server = connection.connection.server_properties
    answer.version = f"{server.get('product', '')} {server.get('version', '')}".strip()
    answer.confirms = bool(server.get("capabilities", {}).get("publisher_confirms"))
    for name in queues:
        channel = connection.channel()  # a refused question closes its channel
        try:
            told = channel.queue_declare(name, passive=True)
        except connection.channel_errors as error:
            if getattr(error, "reply_code", None) != 404:  # noqa: PLR2004  # NOT_FOUND
                raise
            answer.queues.append(QueueAnswer(name=name, consumers=0))
        else:
            answer.queues.append(
                QueueAnswer(name=name, messages=told.message_count, consumers=told.consumer_count)
            )
            channel.close()
    answer.takes_publishes = not _is_blocked(connection, blocked)


def _is_blocked(connection: Any, blocked: list[str]) -> bool:
    """It tells of its alarm only who publishes: so a message that no queue is bound for."""
    producer = connection.Producer(connection.default_channel)
    producer.publish("", exchange="", routing_key=f"reliable_effects.nowhere.{uuid4()}")
    with suppress(socket.timeout, TimeoutError):
        connection.drain_events(timeout=_ALARM_WITHIN)
    return bool(blocked)


def _drop(connection: Any) -> None:
    with suppress(Exception):  # nothing more is asked on it
        if kind_of(connection) == "amqp":
            connection.collect()  # release() waits for the broker's farewell, which a full one owes
        else:
            connection.release()
