"""
Hints: broker messages that say "look at these rows now". Losing one changes nothing but latency.

In: ids, by queue. Out: one hint `{v, db, ids}` per transaction and queue, after the commit, which
nobody waits for; a sweep waits for its own, as long as the publisher lets it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils.module_loading import import_string

from ..clock import DbNow, now_sql
from ..conf import NAME, settings
from .models import Delivery, Sweep
from .publisher import Hint, Publisher

logger = logging.getLogger("reliable_effects")

IDS_PER_HINT = 50  # what a worker gets through in about a batch's time; more go in further hints
HINTS_PER_COMMIT = 20  # and queue; a transaction that promised more leaves the rest to the relay
_READ_UNCONSUMED_EVERY = 10.0  # seconds


def hook_of(connection: BaseDatabaseWrapper) -> HintAfterCommit:
    """
    The hook of the open transaction: the one that is registered, else a new one.

    No flag of our own is kept. A rolled back savepoint drops the hooks that were registered in
    it, and then the next emit finds none and registers again.
    """
    for _, function, _ in connection.run_on_commit:  # type: ignore[misc]  # django-stubs: lacks `robust`
        if isinstance(function, HintAfterCommit):
            return function
    return HintAfterCommit(connection.alias)


class HintAfterCommit:
    """What `on_commit` calls. Ids of a rolled back savepoint may be in it: they find no row."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.correlation: UUID = uuid4()
        self._ids: dict[str, list[int]] = {}
        self._registered = False

    def register(self) -> None:
        if not self._registered:
            self._registered = True
            transaction.on_commit(self, using=self.using, robust=True)

    def add(self, queue: str, delivery_id: int) -> None:
        self._ids.setdefault(queue, []).append(delivery_id)

    def __call__(self) -> None:
        publisher = _publisher()
        if publisher is None:
            return
        # Also where there is nothing to send: that may be because of what was read last time.
        _read_unconsumed(self.using)
        hints = [
            (queue, hint(self.using, chunk))
            for queue, ids in self._ids.items()
            for chunk in chunks(ids)[:HINTS_PER_COMMIT]
        ]
        if hints:
            publisher.hand_over(hints)


def hint(using: str, ids: Sequence[int]) -> Hint:
    return {"v": 1, "db": using, "ids": list(ids)}


def chunks(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[i : i + IDS_PER_HINT] for i in range(0, len(ids), IDS_PER_HINT)]


def will_send(using: str, queue: str) -> bool:
    """Whether a hint for *queue* would be tried now; else the relay need not wait for one."""
    return will_try() and (using, queue) not in _unconsumed


def is_configured() -> bool:
    """Whether there is a transport at all; without one `effects_worker` does everything."""
    return _publisher() is not None


def will_try() -> bool:
    """Whether a hint would be tried at all now, whoever consumes it."""
    publisher = _publisher()
    return publisher is not None and publisher.would_try


def send(using: str, queue: str, ids: Sequence[int]) -> bool:
    """Send one hint now. False: nothing was sent, or nobody knows; the rows are as they were."""
    publisher = _publisher()
    return publisher is not None and publisher.publish(queue, hint(using, ids))


def flush() -> bool:
    """Wait a moment until no hint is on its way from here; False: the broker takes too long."""
    publisher = _publisher()
    return publisher is None or publisher.flush()


def put_back(using: str, ids: Sequence[int]) -> None:
    """They were marked, and not hinted after all. What a worker has had meanwhile is its own."""
    if not ids:
        return
    if connections[using].vendor == "postgresql":
        _put_back_in_one(using, ids)
        return
    rows = Delivery.objects.using(using)
    with transaction.atomic(using=using):
        # Whoever has one locked, claims it or promises it anew; in another order, maybe, than ours.
        found = rows.filter(pk__in=list(ids)).select_for_update(skip_locked=True).order_by("pk")
        # Nothing but ids in the WHERE (see claim.look): what is marked is told here.
        now = found.values_list("pk", "look_at", "hints")
        pks = [pk for pk, look_at, hints in now if look_at is not None and hints > 0]
        rows.filter(pk__in=pks).update(look_at=DbNow(), hints=F("hints") - 1)


def _put_back_in_one(using: str, ids: Sequence[int]) -> None:
    """In one round trip instead of four; a worker that is out of time does it with each bite."""
    connection = connections[using]
    table = Delivery._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH found AS MATERIALIZED (
                SELECT id, look_at, hints FROM {table}
                WHERE id = ANY(%s) ORDER BY id FOR UPDATE SKIP LOCKED
            )
            UPDATE {table} d SET look_at = {now_sql(connection)}, hints = d.hints - 1
            FROM found WHERE d.id = found.id AND found.look_at IS NOT NULL AND found.hints > 0""",
            [list(ids)],
        )


# Queues that nobody consumes get no hints from emit; the relay keeps the list.

_unconsumed: set[tuple[str, str]] = set()
_read_at: dict[str, float] = {}
UNCONSUMED = "unconsumed:"


def _read_unconsumed(using: str) -> None:
    if time.monotonic() - _read_at.get(using, float("-inf")) < _READ_UNCONSUMED_EVERY:
        return
    _read_at[using] = time.monotonic()
    try:
        names = Sweep.objects.using(using).filter(name__startswith=UNCONSUMED)
        found = {
            (using, name.removeprefix(UNCONSUMED)) for name in names.values_list("name", flat=True)
        }
    except Error:
        # The commit stands, and the request must not learn of our curiosity.
        logger.warning("could not read which queues are consumed", exc_info=True)
        return
    _unconsumed.difference_update({pair for pair in _unconsumed if pair[0] == using})
    _unconsumed.update(found)


# The transport


_publishers: dict[str, Publisher | None] = {}  # by the transport; one, but for tests


def _publisher() -> Publisher | None:
    transport = settings().transport
    if transport not in _publishers:
        # The first requests of a process may all stand here at once: one of them wins, and its
        # publisher is everybody's, so that a hung broker is waited for once.
        _publishers.setdefault(transport, _make_publisher(transport))
    return _publishers[transport]


def _make_publisher(transport: str) -> Publisher | None:
    send_hint = _transport(transport)
    if send_hint is None:
        return None
    return Publisher(send_hint, patience=settings().publish_patience, rest=settings().publish_rest)


def _transport(setting: str) -> Callable[[str, Hint], Any] | None:
    match setting:
        case "none":
            return None
        case "auto" if _silent:
            return None
        case "auto" | "celery":
            return _celery(required=setting == "celery")
        case path:
            try:
                sender: Callable[[str, Hint], Any] = import_string(path)
            except ImportError as error:
                raise ImproperlyConfigured(
                    f"{NAME}['TRANSPORT'] is {path!r}, which cannot be imported ({error})."
                    " Use 'auto', 'celery', 'none', or a dotted path to send(queue, hint)."
                ) from error
            return sender


def _celery(*, required: bool) -> Callable[[str, Hint], Any] | None:
    try:
        # Celery is an extra: without it everything else works.
        from .celery_transport import CelerySender, usable_app  # noqa: PLC0415
    except ImportError as error:
        if required:
            raise ImproperlyConfigured(
                f"{NAME}['TRANSPORT'] is 'celery', but Celery is not installed:"
                " pip install 'django-reliable-effects[celery]'."
            ) from error
        return None
    app = usable_app()
    if app is None:
        if required:
            raise ImproperlyConfigured(
                f"{NAME}['TRANSPORT'] is 'celery', but no Celery app with a broker is configured."
                " Import your app in the project's __init__.py, or set TRANSPORT to 'none'."
            )
        return None
    return CelerySender(app)


_silent = False


def silence() -> None:
    """From now on TRANSPORT "auto" means "none" in this process: tests need no broker."""
    global _silent  # noqa: PLW0603  # a fact about the process
    _silent = True
    forget_transport()


def forget_transport(*, setting: str = NAME, **_: Any) -> None:
    """Read the settings again before the next hint (they changed, or a test wants a new broker)."""
    if setting == NAME:
        _publishers.clear()
        _unconsumed.clear()
        _read_at.clear()


setting_changed.connect(forget_transport, dispatch_uid="reliable_effects.dispatch")
