"""
Claim a message inside the caller's transaction: what it changes and that it was handled commit
together, so a rollback leaves it to be handled anew.

In: a consumer's name, the sender's id of the message, and its payload. Out: whether it is new.
Nothing is waited for: who is second while the first is still at work is told to come again.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from functools import partial
from uuid import UUID

from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from .. import signals
from ..clock import DbNow
from ..effects.names import checked_names
from ..exceptions import BadMessage, MessageBusy, OutsideTransaction
from ..outbox.emit import in_open_transaction
from ..outbox.failures import sanitise
from .hashing import Payload, hash_payload, is_another, message_key
from .insert import InTheWay, insert
from .models import InboxMessage

logger = logging.getLogger("reliable_effects")

_SHOWN = 200  # bytes of an id that the row keeps for people; its key has all of it


class Claim(StrEnum):
    """What came of a claim: true where the message is ours to handle, and false otherwise."""

    NEW = "new"
    DUPLICATE = "duplicate"  # it was handled, and that is committed
    CONFLICTED = "conflicted"  # its id was handled, with another payload

    def __bool__(self) -> bool:
        return self is Claim.NEW


def claim(
    message_id: str | int | UUID,
    *,
    consumer: str,
    payload: Payload | None = None,
    using: str | None = None,
) -> Claim:
    """
    Whether the message is new to *consumer*; then it is handled from now on, if this commits.

    The sender chooses *message_id*, which is the same each time it sends the message, and of any
    length. *payload* is compared with that of the first time: bytes as they came, or what JSON can
    say. Without one nothing is compared, and None is none: wrap what may be a JSON null. A conflict
    is logged, marked on the row and alerted on.

    Raises:
        OutsideTransaction: no transaction is open on the database *using*.
        MessageBusy: another transaction is handling the message at this moment. Let the sender come
            again: that one may still roll back. The caller's transaction is as it was.
        BadMessage: the id is empty or no id, or there is no JSON of the payload.
        ValueError: *consumer* is no name.
    """
    alias = using or router.db_for_write(InboxMessage)
    connection = connections[alias]
    checked_names("consumer", consumer, ())
    if not in_open_transaction(connection):
        raise OutsideTransaction(consumer, alias, "inbox.claim")
    named = id_text(message_id)
    row = InboxMessage(
        consumer=consumer,
        message_id=sanitise(named, _SHOWN),
        key=message_key(consumer, named),
        payload_hash="" if payload is None else hash_payload(payload),
    )
    try:
        stored = _write_or_read(connection, row)
    except InTheWay as error:
        raise MessageBusy(consumer, row.message_id) from error
    if stored is None:
        logger.info("claimed %s %r", consumer, row.message_id)
        return Claim.NEW
    if payload is not None and is_another(payload, stored):
        _tell_of_conflict(row, alias)
        return Claim.CONFLICTED
    logger.info("duplicate %s %r", consumer, row.message_id)
    return Claim.DUPLICATE


def id_text(message_id: str | int | UUID) -> str:
    """
    *message_id* as it is compared: 7 and "7" are one.

    Raises:
        BadMessage: it is empty, or none of the three.
    """
    if isinstance(message_id, bool) or not isinstance(message_id, str | int | UUID):
        problem = f"is a {type(message_id).__name__}; it needs to be a string, a number or a UUID."
        raise BadMessage("id", problem)
    text = str(message_id)
    if not text:
        raise BadMessage("id", "is empty, so any two messages would be one.")
    return text


def _write_or_read(connection: BaseDatabaseWrapper, row: InboxMessage) -> str | None:
    """None where *row* was written, else the hash in the row that stands under its key."""
    if connection.vendor == "mysql":
        # A duplicate's INSERT would keep its neighbours locked until the caller commits.
        stored = _stored(connection, row)
        if stored is not None:
            return stored
    if insert(connection, row):
        return None
    stored = _stored(connection, row)
    if stored is None and connection.vendor == "mysql":
        stored = _stored_since(connection, row)
    if stored is None:
        raise InTheWay
    return stored


def _stored(connection: BaseDatabaseWrapper, row: InboxMessage) -> str | None:
    rows = InboxMessage.objects.using(connection.alias).filter(key=row.key)
    return rows.values_list("payload_hash", flat=True).first()


def _stored_since(connection: BaseDatabaseWrapper, row: InboxMessage) -> str | None:
    """What was committed after the snapshot of a REPEATABLE READ transaction, which hides it."""
    rows = InboxMessage.objects.using(connection.alias).filter(key=row.key)
    try:
        return rows.select_for_update(nowait=True).values_list("payload_hash", flat=True).first()
    except DatabaseError as error:
        raise InTheWay from error


def _tell_of_conflict(row: InboxMessage, using: str) -> None:
    # Whoever holds the row is marking it too, and must not be waited for.
    rows = InboxMessage.objects.using(using).filter(key=row.key)
    free = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
    InboxMessage.objects.using(using).filter(pk__in=free).update(
        conflicts=F("conflicts") + 1, conflicted_at=DbNow()
    )
    # At once, since the caller may roll back; the mark and the signal share the caller's fate.
    logger.error(
        "conflicted %s %r: it came again with another payload", row.consumer, row.message_id
    )
    told = partial(
        signals.message_conflicted.send_robust,
        InboxMessage,
        consumer=row.consumer,
        message_id=row.message_id,
        using=using,
    )
    transaction.on_commit(told, using=using, robust=True)
