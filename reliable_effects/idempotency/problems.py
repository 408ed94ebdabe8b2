"""
What a client is told when its key does not lead to an answer: RFC 9457 problem documents.

`code` is stable; `type` is an address in IDEMPOTENCY_DOCS where that is set, else a URN of ours.
They say nothing of another request but that it is there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from django.http import HttpResponse

from ..conf import settings


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    status: int
    title: str
    detail: str

    def answer(self, *, retry_after: int | None = None) -> HttpResponse:
        """The response; *retry_after* in seconds, at least 1."""
        docs = settings().idempotency_docs
        body = {
            "type": f"{docs}#{self.code}" if docs else f"{_URN}{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        response = HttpResponse(
            json.dumps(body), status=self.status, content_type="application/problem+json"
        )
        response["Cache-Control"] = "no-store"
        if docs:
            response["Link"] = f'<{docs}>; rel="describedby"'
        if retry_after is not None:
            response["Retry-After"] = str(max(1, retry_after))
        return response


_URN = "urn:reliable-effects:idempotency:"

MISSING_KEY = Problem(
    "missing-key",
    400,
    "An idempotency key is required",
    "Send the header Idempotency-Key with a value that is new for each operation, and the same"
    " whenever you repeat it.",
)
INVALID_KEY = Problem(
    "invalid-key",
    400,
    "The idempotency key cannot be read",
    'Send one Idempotency-Key, in double quotes: "8e03978e-40d5-43dd-bc93-6894a57f9324". It may'
    " have 1 to 255 printable ASCII characters.",
)
IDENTITY_REQUIRED = Problem(
    "identity-required",
    401,
    "Idempotency keys are taken from known clients only",
    "A key belongs to who sent it. Authenticate, or leave the key out.",
)
CONFLICT = Problem(
    "conflict",
    409,
    "A request with this idempotency key is in progress",
    "Nothing was done for this one. Repeat it with the same key after the seconds that Retry-After"
    " says.",
)
OUTCOME_UNKNOWN = Problem(
    "outcome-unknown",
    409,
    "Nobody knows how the first request ended",
    "It may have been carried out. Do not repeat it, with this key or another; ask the operator.",
)
RESULT_EXPIRED = Problem(
    "result-expired",
    409,
    "The request was carried out, and its answer is no longer kept",
    "Nothing was done for this one. Read the state of the resource instead.",
)
PAYLOAD_TOO_LARGE = Problem(
    "payload-too-large",
    413,
    "The request is too large for an idempotency key",
    "Its body is more than this server reads to tell two requests apart.",
)
FINGERPRINT_MISMATCH = Problem(
    "fingerprint-mismatch",
    422,
    "This idempotency key was used for another request",
    "A key may be repeated with the same request only. Send a new key for a new request.",
)
STORE_UNAVAILABLE = Problem(
    "store-unavailable",
    503,
    "Idempotency keys cannot be looked up now",
    "Nothing was done. Repeat the request with the same key.",
)

PROBLEMS = (
    MISSING_KEY,
    INVALID_KEY,
    IDENTITY_REQUIRED,
    CONFLICT,
    OUTCOME_UNKNOWN,
    RESULT_EXPIRED,
    PAYLOAD_TOO_LARGE,
    FINGERPRINT_MISMATCH,
    STORE_UNAVAILABLE,
)
"""Every one of them: the reference lists them."""
