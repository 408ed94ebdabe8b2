"""The routes as views of Django REST framework."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpResponse, JsonResponse
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import AllowAny, BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from example_project.conformance.lanes import Lane
from example_project.conformance.routes import Route
from reliable_effects.idempotency import Idempotency
from reliable_effects.rest_framework import IdempotentMixin


class Sessions(SessionAuthentication):
    def enforce_csrf(self, request: Request) -> None:
        """The clients are programs that log in anew."""

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002  # DRF's signature
        return "Session"  # or REST framework answers 403 where it means 401


class MaySeeSecret(BasePermission):
    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002
        return request.user.has_perm("conformance.see_secret")


class Fixture(IdempotentMixin, APIView):
    authentication_classes = [Sessions]
    permission_classes: list[type[BasePermission]] = [AllowAny]
    route: Route

    def answer(self, request: Request, lane: str, **arguments: Any) -> HttpResponse | Response:
        answer = self.route.handler(request, Lane(lane), **arguments)
        if isinstance(answer, JsonResponse):
            # As most API views answer: the bytes are not there before the response is rendered.
            return Response(json.loads(answer.content), status=answer.status_code)
        return answer


def view(route: Route) -> Any:
    attributes: dict[str, Any] = {
        "route": route,
        "idempotency": Idempotency(**route.options),
        route.method.lower(): Fixture.answer,
    }
    if route.permission:
        attributes["permission_classes"] = [MaySeeSecret]
    name = route.path.partition("/")[0].title().replace("-", "")
    return type(name, (Fixture,), attributes).as_view()
