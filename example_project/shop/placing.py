"""
Placing an order: the row and the promise of its effects, in one transaction.

Promise: both are there, or neither is.
"""

from __future__ import annotations

from django.db import IntegrityError, transaction

from example_project.shop.events import OrderPlaced, order_placed
from example_project.shop.models import Order, Product

GOOD_CARD = "4242"
DECLINED_CARD = "0002"


class CardDeclined(Exception):
    """The bank said no, after the order and its event had been written."""

    def __init__(self, reference: str) -> None:
        self.reference = reference
        super().__init__(f"The card was declined, so order {reference} does not exist.")


def place_order(
    *,
    reference: str,
    product: Product,
    quantity: int,
    email: str,
    gift: bool = False,
    card: str = GOOD_CARD,
    placed_from: str = "web",
) -> Order:
    """
    Write the order and promise its ten effects. The same *reference* twice is the same order.

    Raises:
        CardDeclined: everything was rolled back, the promise with it.
    """
    try:
        with transaction.atomic():
            order = Order.objects.create(
                reference=reference,
                product=product,
                quantity=quantity,
                total=product.price * quantity,
                email=email,
                gift=gift,
            )
            order_placed.emit(order, OrderPlaced(placed_from=placed_from))
            # As late as can be, on purpose: what was emitted above must vanish with the order.
            if card == DECLINED_CARD:
                raise CardDeclined(reference)
    except IntegrityError:
        # The form was sent twice (a double click, an answer that got lost).
        return Order.objects.get(reference=reference)
    return order
