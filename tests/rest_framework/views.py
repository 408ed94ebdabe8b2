"""A shop's API, as small as can be: orders belong to the user whose name is in `charge_id`."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.authentication import SessionAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from reliable_effects.rest_framework import EffectStatusViewSet, ShedLoad, accepted
from reliable_effects.watch.shedding import shed_load
from tests.shop.events import order_placed, order_seen
from tests.shop.models import Crate, Order


class OfTheirUser:
    authentication_classes = [SessionAuthentication]
    permission_classes = [IsAuthenticated]


class OrderStatus(OfTheirUser, EffectStatusViewSet):
    subject = Order
    labels = {"shop.send_receipt": "receipt"}
    hidden = ("shop.count_points",)
    cancellable = ("shop.send_receipt",)
    told_errors = ("tests.rest_framework.conftest.CardRefused",)

    def owned(self, request):
        return Order.objects.filter(charge_id=request.user.get_username())

    def results(self, events):
        return {event.pk: f"/receipts/{event.subject_pk}" for event in events}


class CrateStatus(OfTheirUser, EffectStatusViewSet):
    subject = Crate

    def owned(self, request):
        return Crate.objects.filter(owner=request.user.get_username())


class NightStatus(OfTheirUser, EffectStatusViewSet):
    """Of events about no row: whose they are is in their payload."""

    def visible(self, request, events):
        return events.filter(payload__user=request.user.get_username())


class Orders(OfTheirUser, APIView):
    def post(self, request):
        with transaction.atomic():
            order = Order.objects.create(charge_id=request.user.get_username())
            emitted = order_seen.emit(order)
        return accepted(emitted, request, route="order-effects")


class WhenPaymentsAreBehind(ShedLoad):
    queue = "payments"
    max_age = timedelta(minutes=5)
    max_backlog = 10

    def exempt(self, request):
        return request.user.is_staff


class OfOneCustomer(ShedLoad):
    max_backlog_per = 2

    def per(self, request):
        return Order.objects.filter(charge_id=request.user.get_username())


class Charges(Orders):
    throttle_classes = [WhenPaymentsAreBehind]

    def get(self, _request):
        return Response({"orders": Order.objects.count()})


class Purchases(Orders):
    throttle_classes = [OfOneCustomer]


@shed_load(effects=["shop.charge_card"], max_age=timedelta(minutes=5), max_backlog=10)
def charge(request: HttpRequest, **_: str) -> JsonResponse:
    if request.method == "POST":
        with transaction.atomic():
            order_placed.emit(Order.objects.create())
    return JsonResponse({"orders": Order.objects.count()})


@shed_load(queue="payments", max_backlog=10)
async def charge_async(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"method": request.method})


@method_decorator(shed_load(queue="payments", max_backlog=10), name="dispatch")
class Charge(View):
    def get(self, _request: HttpRequest) -> JsonResponse:
        return JsonResponse({})

    post = get


@method_decorator(shed_load(queue="payments", max_backlog=10), name="dispatch")
class ChargeAsync(View):
    async def get(self, _request: HttpRequest) -> JsonResponse:
        return JsonResponse({})

    post = get


router = SimpleRouter()
router.register("effects", OrderStatus, basename="order-effects")
router.register("crates", CrateStatus, basename="crate-effects")
router.register("nights", NightStatus, basename="night-effects")
urlpatterns = [
    path("api/", include(router.urls)),
    path("api/orders/", Orders.as_view(), name="orders"),
    path("api/charges/", Charges.as_view(), name="charges"),
    path("api/purchases/", Purchases.as_view(), name="purchases"),
    path("shop/", include(([path("orders/", Orders.as_view())], "shop"))),
    path("partners/", include((router.urls, "partners"))),
    path("charge/", charge, name="charge"),
    path("strange/<str:id>/", charge, name="strange-detail"),
    path("charge-async/", charge_async, name="charge-async"),
    path("charge-class/", Charge.as_view(), name="charge-class"),
    path("charge-async-class/", ChargeAsync.as_view(), name="charge-async-class"),
]
