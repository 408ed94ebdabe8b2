"""Place an order, watch its effects, and the part of that page that changes."""

from __future__ import annotations

from http import HTTPStatus

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from example_project.shop.forms import OrderForm
from example_project.shop.models import Order, Shipment
from example_project.shop.placing import CardDeclined, place_order
from example_project.shop.showing import TOLD, effects_of, is_settled


@require_http_methods(["GET", "HEAD", "POST"])
def home(request: HttpRequest) -> HttpResponse:
    status, declined = HTTPStatus.OK, None
    form = OrderForm(request.POST or None)
    if request.method == "POST":
        if form.is_valid():
            try:
                return redirect(place_order(**form.cleaned_data))
            except CardDeclined as error:
                # A new form: its reference names the next order, not the one that is gone.
                form, status, declined = OrderForm(), HTTPStatus.PAYMENT_REQUIRED, error
        else:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
    recent = Order.objects.select_related("product")[:12]
    context = {"form": form, "declined": declined, "orders": recent}
    return render(request, "shop/home.html", context, status=status)


@require_safe
def order(request: HttpRequest, reference: str) -> HttpResponse:
    return render(request, "shop/order.html", _order_context(reference))


@require_safe
@never_cache
def order_effects(request: HttpRequest, reference: str) -> HttpResponse:
    """Answer with the table alone, for the script that keeps the order page fresh."""
    return render(request, "shop/effects.html", _order_context(reference))


def _order_context(reference: str) -> dict[str, object]:
    found = get_object_or_404(Order.objects.select_related("product"), reference=reference)
    lines = effects_of(found, *Shipment.objects.filter(order=found))
    captures = found.capture_set.order_by("pk")
    return {
        "order": found,
        "told": TOLD,
        "lines": lines,
        "settled": is_settled(lines),
        "captures": captures,
    }
