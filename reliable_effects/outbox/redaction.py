"""
Payloads as people see them: without what looks secret.

Every page that shows a payload goes through `shown`. Whether a value is secret its key says, by the
words in it; what is in texts the project's `redact` says.
"""

from __future__ import annotations

import json
import logging
import re
from copy import deepcopy
from typing import Any

from django.utils.module_loading import import_string

from ..conf import settings

logger = logging.getLogger("reliable_effects")

HIDDEN = "***"

# In whatever they stand: `userPassword`, `stripe_secret_key`, `refreshTokens`.
_PARTS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "authorization", "credential",
    "cookie", "apikey", "privatekey", "accesskey", "sessionid", "cardnumber", "creditcard",
    "socialsecurity", "bankaccount", "accountnumber", "signature",
)  # fmt: skip
# As a word of their own only: `card_number` and `cardPAN`, but no `discard`, `pinned` or `japan`.
_WORDS = frozenset(
    {"pwd", "auth", "card", "cvv", "cvv2", "cvc", "cvc2", "csc", "iban", "bic", "ssn", "pin", "pan"}
    | {"otp", "totp", "jwt", "bearer", "nonce", "salt"}
)
_WORD = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[a-z]+\d*|\d+")  # of snake_case and camelCase


def shown(name: str, payload: Any) -> tuple[str, bool]:
    """
    *payload* of the event *name* as text for people, and whether that is all that there is.

    Where the project's function fails, nothing is shown but that.
    """
    path = settings().redact_payload
    try:
        seen = import_string(path)(name, deepcopy(payload))  # it may empty it
        return json.dumps(seen, indent=2, ensure_ascii=False, default=str), bool(seen == payload)
    except Exception:
        logger.exception("%s failed; nothing of a payload of %s is shown", path, name)
        return f"<{path} failed, so nothing of this is shown>", False


def redact_payload(_name: str, payload: Any) -> Any:
    """Hide values whose keys look secret, however deep they stand, and what `redact` hides in texts."""
    redact = import_string(settings().redact)

    def hide(value: Any) -> Any:
        match value:
            case dict():
                return {
                    key: HIDDEN if is_secret(str(key)) and _tells(inside) else hide(inside)
                    for key, inside in value.items()
                }
            case list():
                return [hide(inside) for inside in value]
            case str():
                return redact(value)
            case _:
                return value

    return hide(payload)


def is_secret(key: str) -> bool:
    """Whether what stands under *key* is hidden."""
    words = [word.lower() for word in _WORD.findall(key)]
    joined = "".join(words)
    return not _WORDS.isdisjoint(words) or any(part in joined for part in _PARTS)


def _tells(value: Any) -> bool:
    """That there is none, or that there is one, is no secret."""
    return value is not None and not isinstance(value, bool) and value != ""
