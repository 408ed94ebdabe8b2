"""What OpenAPI says of the statuses, where drf-spectacular is installed; without it, nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..outbox.outward import Outward
from .documents import DocumentSerializer, ProblemSerializer

View = TypeVar("View", bound=Callable[..., Any])

try:
    from drf_spectacular.types import OpenApiTypes
    from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
except ImportError:

    def _as_it_is(view: View) -> View:
        return view

    describe_list = describe_one = describe_action = _as_it_is

    def describe_accepted(
        *,
        request: Any = None,  # noqa: ARG001  # as below
        parameters: Sequence[Any] = (),  # noqa: ARG001  # as below
        responses: dict[Any, Any] | None = None,  # noqa: ARG001  # as below
    ) -> Callable[[View], View]:
        return _as_it_is
else:
    _PROBLEM = "application/problem+json"
    _ID = OpenApiParameter(
        "id", OpenApiTypes.UUID, OpenApiParameter.PATH, description="The event's id."
    )

    def _header(name: str, kind: Any, statuses: list[int], about: str) -> OpenApiParameter:
        return OpenApiParameter(
            name, kind, OpenApiParameter.HEADER, response=statuses, description=about
        )

    def _refusals() -> dict[Any, Any]:
        """New ones each time: the generator keeps what it is given."""
        return {
            401: OpenApiResponse(description="Nobody is logged in."),
            403: OpenApiResponse(description="Not with these credentials."),
        }

    def _not_found() -> dict[Any, Any]:
        return {(404, _PROBLEM): OpenApiResponse(ProblemSerializer, "No such event.")}

    # Said here: else it would be our docstrings, which are for who writes the views.
    describe_list = extend_schema(  # type: ignore[assignment]  # it bounds its type otherwise
        description="Your events, the newest first.",
        parameters=[
            OpenApiParameter("kind", OpenApiTypes.STR, description="An event's name."),
            OpenApiParameter(
                "status",
                OpenApiTypes.STR,
                enum=Outward.values,
            ),
            OpenApiParameter(
                "subject",
                OpenApiTypes.STR,
                description="The primary key of what it is about.",
            ),
        ],
        responses={
            200: DocumentSerializer(many=True),
            400: OpenApiResponse(OpenApiTypes.OBJECT, "A filter or cursor that leads nowhere."),
            **_refusals(),
        },
    )
    _WHEN = _header(
        "Retry-After", OpenApiTypes.INT, [200, 304], "Seconds; left out when nothing will change."
    )
    describe_one = extend_schema(  # type: ignore[assignment]  # it bounds its type otherwise
        description="How it goes with one event.",
        parameters=[
            _ID,
            OpenApiParameter("If-None-Match", OpenApiTypes.STR, OpenApiParameter.HEADER),
            _header("ETag", OpenApiTypes.STR, [200, 304], "Of the document."),
            _WHEN,
        ],
        responses={
            200: DocumentSerializer,
            304: OpenApiResponse(description="As it was."),
            **_refusals(),
            **_not_found(),
        },
    )
    describe_action = extend_schema(  # type: ignore[assignment]  # it bounds its type otherwise
        description="Give up what waits and may be given up.",
        parameters=[_ID],
        request=None,
        responses={
            200: OpenApiResponse(DocumentSerializer, "It is over."),
            202: OpenApiResponse(DocumentSerializer, "What waited is given up; the rest goes on."),
            (409, _PROBLEM): OpenApiResponse(ProblemSerializer, "Nothing could be given up."),
            **_refusals(),
            **_not_found(),
        },
    )

    def describe_accepted(
        *,
        request: Any = None,
        parameters: Sequence[Any] = (),
        responses: dict[Any, Any] | None = None,
    ) -> Callable[[View], View]:
        """For the method of a view that answers `accepted(…)`; what it takes and else answers is yours."""
        return extend_schema(
            request=request,
            parameters=[
                *parameters,
                _header("Location", OpenApiTypes.URI, [202], "Where to ask how it goes."),
                _header("Operation-Location", OpenApiTypes.URI, [202], "The same."),
                _header("Retry-After", OpenApiTypes.INT, [202], "Seconds until it is worth it."),
            ],
            responses={202: DocumentSerializer, **_refusals(), **(responses or {})},
        )
