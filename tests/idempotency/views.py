"""Views that a client may ask twice. Each places an order, tells of it, then does as a test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authentication import BaseAuthentication
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied, Throttled, ValidationError
from rest_framework.parsers import DataAndFiles, FormParser, JSONParser, MultiPartParser
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from reliable_effects.idempotency import Idempotency, IdempotentView, idempotent
from reliable_effects.rest_framework import IdempotentMixin
from tests.shop.events import order_seen
from tests.shop.models import Order

Then = Callable[[HttpRequest, Order], HttpResponse]


class Plan:
    """What the next runs do, and how many there were."""

    def __init__(self) -> None:
        self.runs = 0
        self.then: Then = created
        self.is_forbidden = self.is_throttled = self.is_forbidden_object = False


def created(_request: HttpRequest, order: Order) -> HttpResponse:
    response = JsonResponse({"order": order.pk, "run": plan.runs}, status=201)
    response["Location"] = f"/orders/{order.pk}"
    return response


plan = Plan()


def acts(request: HttpRequest, *_: Any, **__: Any) -> HttpResponse:
    plan.runs += 1
    order = Order.objects.create()
    order_seen.emit(order)  # it has no effects: on MariaDB those of an almost empty table wait
    return plan.then(request, order)


def route(name: str, view: Any, pattern: str = "") -> Any:
    return path(f"{pattern or name}/", csrf_exempt(view), name=name)


class Permitted(LoginRequiredMixin, IdempotentView):
    raise_exception = True

    def post(self, request: HttpRequest) -> HttpResponse:
        return acts(request)


@method_decorator(idempotent(lease=timedelta(seconds=7)), name="dispatch")
class Decorated(View):
    def post(self, request: HttpRequest) -> HttpResponse:
        return acts(request)


class BySession(BaseAuthentication):
    """Django's session, without the check against forgery that a test's client cannot pass."""

    def authenticate(self, request: Any) -> Any:
        user = request._request.user
        return (user, None) if user.is_authenticated else None

    def authenticate_header(self, _request: Any) -> str:
        return "Session"


class NotForbidden(BasePermission):
    def has_permission(self, _request: Any, _view: Any) -> bool:
        return not plan.is_forbidden


class NotThrottled(BaseThrottle):
    asked = 0

    def allow_request(self, _request: Any, _view: Any) -> bool:
        type(self).asked += 1
        return not plan.is_throttled


class OfRestFramework(IdempotentMixin, APIView):
    authentication_classes = [BySession]
    permission_classes = [IsAuthenticated, NotForbidden]
    throttle_classes = [NotThrottled]
    parser_classes = [JSONParser, FormParser, MultiPartParser]
    renderer_classes = [JSONRenderer]

    def get(self, _request: Any) -> Response:
        return Response({"runs": plan.runs})

    def post(self, request: Any) -> Any:
        response = acts(request)
        if request.data.get("wrong"):
            raise ValidationError({"wrong": ["It is."]})
        if response.status_code != 201:
            return response
        return Response({"run": plan.runs, "sent": request.data.get("a")}, status=201)


class ThrottledToo(OfRestFramework):
    idempotency = Idempotency(throttle_replays=True)


class ForeignToo(OfRestFramework):
    idempotency = Idempotency(foreign=True)


class TokenUser:
    """A user that is no row, as one that stateless tokens name."""

    is_authenticated = is_active = True

    def __init__(self, pk: str) -> None:
        self.pk = self.id = pk


class ByToken(BaseAuthentication):
    def authenticate(self, request: Any) -> Any:
        return TokenUser(request.headers["X-User"]), None


class OfTokens(OfRestFramework):
    authentication_classes = [ByToken]
    idempotency = Idempotency(anonymous=True)


class Nested(MultiPartParser):
    """As parsers of nested forms give it: plain dicts and lists, with the files among them."""

    def parse(self, *args: Any, **kwargs: Any) -> DataAndFiles:
        parsed = super().parse(*args, **kwargs)
        return DataAndFiles({"items": [dict(parsed.data.items(), **parsed.files)]}, {})


class OfNested(OfRestFramework):
    parser_classes = [Nested]


class Settled(OfRestFramework):
    """Asked about an uncertain key, it answers as a view of REST framework does."""

    idempotency = Idempotency(foreign=True, resolve=lambda _: Response({"charge": 7}, status=201))


class Guarded(OfRestFramework):
    """Of a shop whose orders may change hands, and with a throttle of its own."""

    def check_replay(self, _request: Any) -> None:
        if plan.is_forbidden_object:
            raise PermissionDenied

    def check_throttles(self, request: Any) -> None:
        super().check_throttles(request)
        if plan.is_throttled:
            raise Throttled


@method_decorator(idempotent, name="dispatch")
class Around(APIView):
    def post(self, request: Any) -> HttpResponse:
        return acts(request)


class OfAnonymous(OfRestFramework):
    permission_classes = [NotForbidden]


class Orders(IdempotentMixin, ViewSet):
    authentication_classes = [BySession]
    renderer_classes = [JSONRenderer]

    def get_idempotency(self) -> Idempotency:
        return Idempotency(required=self.action == "create")

    def create(self, request: Any) -> Response:
        acts(request)
        return Response({"run": plan.runs}, status=201)

    @action(detail=True, methods=["post"])
    def pay(self, request: Any, pk: str) -> Response:
        acts(request)
        return Response({"paid": pk, "run": plan.runs})


def by_tenant(request: HttpRequest) -> str:
    return request.headers.get("X-Tenant", "")


urlpatterns = [
    route("place", idempotent(acts)),
    route("other", idempotent(acts)),
    route("pay", idempotent(acts), "orders/<int:pk>/pay"),
    route("required", idempotent(required=True)(acts)),
    route("strict", idempotent(strict=True)(acts)),
    route("public", idempotent(anonymous=True)(acts)),
    route("tenant", idempotent(scope=by_tenant)(acts)),
    route("kept_5xx", idempotent(replay_5xx=True)(acts)),
    route("as_json", idempotent(fingerprint="json")(acts)),
    route("no_body", idempotent(store_body=False)(acts)),
    route("redacted", idempotent(store_body=lambda _: b"{}")(acts)),
    route("foreign", idempotent(foreign=True)(acts)),
    route("foreign_5xx", idempotent(foreign=True, replay_5xx=True)(acts)),
    route("rest_foreign", ForeignToo.as_view()),
    route("members", login_required(idempotent(acts))),
    route("permitted", Permitted.as_view()),
    route("decorated", Decorated.as_view()),
    route("rest", OfRestFramework.as_view()),
    route("rest_throttled", ThrottledToo.as_view()),
    route("rest_settled", Settled.as_view()),
    route("rest_guarded", Guarded.as_view()),
    route("rest_around", Around.as_view()),
    route("rest_tokens", OfTokens.as_view()),
    route("rest_nested", OfNested.as_view()),
    route("rest_anonymous", OfAnonymous.as_view()),
    route("orders", Orders.as_view({"post": "create"})),
    route("orders_pay", Orders.as_view({"post": "pay"}), "viewset/<int:pk>/pay"),
]
