"""
What a message is known by: a digest of consumer and id, and a keyed hash of its payload.

The hash is keyed, so that nobody who reads the table can try out which payload it was. It names its
key: where that is gone (`SECRET_KEY` was changed, and is no fallback), nothing is said of a payload.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.conf import settings as project
from django.core.serializers.json import DjangoJSONEncoder
from django.utils.crypto import constant_time_compare, salted_hmac

from ..exceptions import BadMessage

Payload = bytes | str | Mapping[str, Any] | Sequence[Any] | int | float | bool

_SALT = "reliable_effects.inbox"
_NAMED = 8  # hex digits that tell one secret from the few others


def message_key(consumer: str, message_id: str) -> UUID:
    """
    What is unique: 122 bits of SHA-256 over both.

    The length in front keeps ("a", "b:c") from being ("a:b", "c"). The other six bits are those of
    a UUID: MariaDB refuses what has others.
    """
    parts = (consumer.encode(), message_id.encode("utf-8", "surrogatepass"))
    digest = hashlib.sha256(b"".join(b"%d:%b" % (len(part), part) for part in parts))
    return UUID(bytes=digest.digest()[:16], version=5)


def hash_payload(payload: Payload) -> str:
    """
    The hash of *payload*: bytes as they are, text as UTF-8, anything else as canonical JSON.

    Raises:
        BadMessage: there is no JSON of it.
    """
    return _keyed(_as_bytes(payload), project.SECRET_KEY)


def is_another(payload: Payload, stored: str) -> bool:
    """Whether *stored* is surely the hash of another payload than this one."""
    data = _as_bytes(payload)
    for secret in _secrets():
        if stored.startswith(_name_of(secret)):
            return not constant_time_compare(stored, _keyed(data, secret))
    return False  # no payload was given then, or the secret of that time is gone


def _secrets() -> Iterator[str | bytes]:
    yield project.SECRET_KEY
    yield from project.SECRET_KEY_FALLBACKS


def _keyed(data: bytes, secret: str | bytes) -> str:
    return _name_of(secret) + salted_hmac(_SALT, data, secret, algorithm="sha256").hexdigest()


def _name_of(secret: str | bytes) -> str:
    named = salted_hmac(f"{_SALT}.name", b"", secret, algorithm="sha256").hexdigest()
    return f"{named[:_NAMED]}:"


def _as_bytes(payload: Payload) -> bytes:
    match payload:
        case bytes() | bytearray() | memoryview():
            return bytes(payload)
        case str():
            return payload.encode("utf-8", "surrogatepass")
    try:
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"), cls=DjangoJSONEncoder)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadMessage("payload", f"cannot be written as JSON: {error}") from error
    return text.encode()
