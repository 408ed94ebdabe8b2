"""Orders for tests: two teapots, unless the test says otherwise."""

from __future__ import annotations

from example_project.shop.models import Order, Product, new_reference
from example_project.shop.placing import place_order


def place(product: str = "teapot", **more) -> Order:
    details = {"reference": new_reference(), "quantity": 2, "email": "ada@example.com"} | more
    return place_order(product=Product.objects.get(slug=product), **details)
