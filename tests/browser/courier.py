"""A partner of the shop. From one day to the next it calls the number of a parcel by another name."""

from __future__ import annotations

from tests.shop.models import Order


class Courier:
    def __init__(self) -> None:
        self.is_mended = False

    def book(self, order: Order) -> dict[str, str]:
        number = f"P-{order.pk:05}"
        return {"parcel": number} if self.is_mended else {"status": "ok", "shipment": number}


def parcel_number(answer: dict[str, str]) -> str:
    return answer["parcel"]
