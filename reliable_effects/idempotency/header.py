"""
The header `Idempotency-Key`, read before anything else is asked.

The IETF draft wants a String of Structured Fields (RFC 9651), so in double quotes; most clients
send the bare key. Both are taken for the same key unless the view is strict. What is neither is
refused and never taken for no key: that would drop the protection in silence.
"""

from __future__ import annotations

import re

NAME = "Idempotency-Key"
LONGEST = 255  # characters, as with Stripe

# RFC 9651, 3.3.3: printable ASCII, \" and \\ escaped. Parameters behind it say nothing to us.
_PARAMETER = r'[ ]*;[ ]*[a-z*][a-z0-9_\-.*]*(?:=(?:[!#-+\--:<-~]+|"(?:[ !#-\[\]-~]|\\["\\])*"))?'
_QUOTED = re.compile(rf'"((?:[ !#-\[\]-~]|\\["\\])*)"(?:{_PARAMETER})*')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")  # printable, none of space " , ; \


def read(value: str, *, strict: bool) -> str | None:
    """The key that the header's *value* names; None where it names none that we take."""
    if len(value) > 2 * LONGEST + 2 + _MORE:
        return None
    value = value.strip(" \t")
    if (quoted := _QUOTED.fullmatch(value)) is not None:
        key = re.sub(r'\\(["\\])', r"\1", quoted[1])
    elif not strict and _BARE.fullmatch(value):
        key = value
    else:
        return None
    return key if key.strip() and len(key) <= LONGEST else None


_MORE = 256  # characters, of parameters and blanks
