"""Problem documents (RFC 9457) through REST framework, with a stable `code` in each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request

URN = "urn:reliable-effects:problem:"


class Problem(APIException):
    """
    An error answered as a problem document. *wait*, in seconds, becomes `Retry-After`.

    The project's own EXCEPTION_HANDLER sees it as any APIException, its document in `detail`.
    """

    def __init__(
        self, code: str, status: int, title: str, detail: str, *, wait: float | None = None
    ) -> None:
        super().__init__(detail, code)
        self.status_code = status
        self.wait = None if wait is None else max(1, math.ceil(wait))
        # Not through DRF's own, which would turn the number into text.
        self.detail = problem(code, status, title, detail)


def problem(code: str, status: int, title: str, detail: str) -> dict[str, Any]:
    return {
        "type": f"{URN}{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }


def answer_as_problem(request: Request) -> None:
    """Have the error that is raised next rendered as a problem document, where JSON is rendered."""
    if isinstance(getattr(request, "accepted_renderer", None), JSONRenderer):
        request.accepted_renderer = ProblemRenderer()
        request.accepted_media_type = ProblemRenderer.media_type


class ProblemRenderer(JSONRenderer):
    media_type = "application/problem+json"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> Any:
        response = (renderer_context or {}).get("response")
        if response is not None:
            # Django logs each 5xx as an error, which mails ADMINS; who sheds load has said so once.
            response._has_been_logged = True  # noqa: SLF001  # how Django's own log_response is told
        return super().render(data, accepted_media_type, renderer_context)
