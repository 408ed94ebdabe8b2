"""
What is kept instead of what was sent: hashes, each part behind its length.

Without the lengths ("ab", "c") and ("a", "bc") would be one. Keys and fingerprints are HMACs under
SECRET_KEY, so that a copy of the table does not tell who guesses; those under SECRET_KEY_FALLBACKS
are known too, so that a new secret forgets nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from django.conf import settings as project
from django.utils.crypto import constant_time_compare, salted_hmac

_SALT = "reliable_effects.idempotency"


def of_key(key: str) -> list[str]:
    """HMACs of a client's key: under today's secret, then under each older one."""
    return _hmacs("key", key)


def of_request(material: str) -> str:
    """The HMAC of a request's fingerprint under today's secret."""
    return _hmacs("fingerprint", material)[0]


def is_request(material: str, kept: str) -> bool:
    """Whether *kept* is the HMAC of the same request, under any secret; each compared in constant time."""
    return any(constant_time_compare(kept, known) for known in _hmacs("fingerprint", material))


def of_parts(*parts: str | bytes) -> str:
    """SHA-256 of *parts*, each behind its length."""
    hasher = Hasher()
    hasher.add(*parts)
    return hasher.hexdigest()


class Hasher:
    """SHA-256 of parts that come one after the other."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()

    def add(self, *parts: str | bytes) -> None:
        for part in parts:
            raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
            self._sha.update(len(raw).to_bytes(8, "big"))
            self._sha.update(raw)

    def hexdigest(self) -> str:
        return self._sha.hexdigest()


def of_chunks(chunks: Iterable[bytes]) -> str:
    """SHA-256 of one file, however it was cut."""
    sha = hashlib.sha256()
    for chunk in chunks:
        sha.update(chunk)
    return sha.hexdigest()


def of_user(label: str, pk: str) -> str:
    """Whose records they are: by this a person's are found again."""
    return of_parts("user", label, pk)


def _hmacs(what: str, value: str) -> list[str]:
    secrets = [project.SECRET_KEY, *project.SECRET_KEY_FALLBACKS]
    return [
        salted_hmac(f"{_SALT}.{what}", value, secret=secret, algorithm="sha256").hexdigest()
        for secret in secrets
    ]
