"""
The shop for programs: place an order and be told where to ask how it goes.

Customers log in, and see what belongs to the e-mail address of their account; a real shop would have
made sure that it is theirs.
"""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpRequest
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from drf_spectacular.views import SpectacularAPIView
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

from example_project.shop.events import order_placed
from example_project.shop.models import Order, Product, Usage, new_reference
from example_project.shop.placing import DECLINED_CARD, GOOD_CARD, CardDeclined, place_order
from example_project.shop.showing import TOLD
from reliable_effects.models import OutboxEvent
from reliable_effects.rest_framework import (
    EffectStatusViewSet,
    IdempotentMixin,
    ShedLoad,
    accepted,
    describe_accepted,
)

_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    OpenApiParameter.HEADER,
    description="The same whenever this order is sent again: it is placed once.",
)


class OrderSerializer(serializers.Serializer):
    product = serializers.SlugRelatedField(slug_field="slug", queryset=Product.objects.all())
    quantity = serializers.IntegerField(min_value=1, max_value=99, default=1)
    gift = serializers.BooleanField(default=False)
    card = serializers.ChoiceField([GOOD_CARD, DECLINED_CARD], default=GOOD_CARD)


class WhenPaymentsAreBehind(ShedLoad):
    """Orders that nobody can charge for minutes are better placed later; what is placed is safe."""

    effects = ("shop.charge_card",)
    max_age = timedelta(minutes=5)
    max_backlog = 5000

    def exempt(self, request: HttpRequest) -> bool:
        return request.user.is_staff


class Orders(IdempotentMixin, APIView):
    """Place an order."""

    throttle_classes = (WhenPaymentsAreBehind,)

    @describe_accepted(
        request=OrderSerializer,
        parameters=[_KEY],
        responses={
            400: OpenApiResponse(description="This is no order, or no key."),
            402: OpenApiResponse(description="The card was declined; there is no order."),
            409: OpenApiResponse(description="An order with this key is being placed."),
            415: OpenApiResponse(description="Not in JSON."),
            422: OpenApiResponse(description="This key was another order's."),
            503: OpenApiResponse(description="Too much is waiting; come back later."),
        },
    )
    def post(self, request: Request) -> Response:
        wanted = OrderSerializer(data=request.data)
        wanted.is_valid(raise_exception=True)
        if not request.user.email:
            raise serializers.ValidationError("Your account has no e-mail address to order for.")
        try:
            order = place_order(
                reference=new_reference(),
                email=request.user.email,
                placed_from="api",
                **wanted.validated_data,
            )
        except CardDeclined as error:
            return Response({"detail": str(error), "code": "card-declined"}, 402)
        Usage.objects.create(customer=request.user, what="order", units=order.quantity)
        event = OutboxEvent.objects.get(
            subject_model="shop.order", subject_pk=str(order.pk), name=order_placed.name
        )
        return accepted(event, request, route="order-effects")


class OrderStatus(EffectStatusViewSet):
    """How it goes with your orders."""

    subject = Order
    hidden = ("shop.track_analytics",)
    labels = TOLD
    cancellable = ("shop.gift_wrap",)

    def owned(self, request: Request):
        email = request.user.email
        return Order.objects.filter(email=email) if email else Order.objects.none()

    def results(self, events):
        orders = Order.objects.in_bulk([int(event.subject_pk) for event in events])
        return {
            event.pk: order.get_absolute_url()
            for event in events
            if (order := orders.get(int(event.subject_pk)))
        }


router = SimpleRouter()
router.register("effects", OrderStatus, basename="order-effects")

schema = SpectacularAPIView.as_view(permission_classes=[AllowAny], authentication_classes=[])
