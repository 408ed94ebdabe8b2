"""
What follows when an order is placed: ten effects, and one more when a shipment is opened. And two
when a trial ends, a month after it began.

Each shows one way an effect can be. Each writes into the row what it has done, and below it stands
the query that finds the rows without: it is asked before each run, and workers walk it to find what
nobody has promised, also where all rows of reliable_effects are gone.

The rests between attempts and the grace are short, so that a demo moves; a real shop would begin at
ten seconds, and be alarmed after a quarter of an hour. Timeout and attempts are the same for all of
them, so they stand in the settings.
"""

from __future__ import annotations

from datetime import timedelta

import requests
from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from example_project.shop import reports  # noqa: F401  # they are effects, too
from example_project.shop.events import OrderPlaced, order_placed, shipment_opened, trial_ended
from example_project.shop.models import (
    CURSED,
    LoyaltyAccount,
    LoyaltyEntry,
    Membership,
    Order,
    Shipment,
    TrialExpiry,
)
from example_project.shop.partners import call, find_payment
from reliable_effects import ONCE, Backoff, EffectContext, Poison, effect
from reliable_effects.models import JobState

BACKOFF = Backoff(first=timedelta(milliseconds=500), longest=timedelta(seconds=4))

GRACE = timedelta(seconds=10)  # how long after the order nobody wonders why it is not done

Ctx = EffectContext[OrderPlaced]


def find_charge(order: Order, ctx: Ctx) -> bool | None:
    """Ask the payment partner whether the charge of an unanswered call was made."""
    try:
        charge = find_payment(ctx.idempotency_key)
    except requests.RequestException:
        return None
    if charge is None:
        return False
    _mark_paid(order, charge["id"])
    return True


@effect(
    "shop.charge_card",
    on=order_placed,
    queue="payments",
    dependency="payment",
    verify=find_charge,
    backoff=BACKOFF,
)
def charge_card(order: Order, ctx: Ctx) -> None:
    """
    Charge the customer's card.

    This partner does not say for how long it remembers keys, so there is no window: what may have
    been charged is asked after before anything is sent again.
    """
    amount = str(order.total)
    charge = call("payment", ctx, window=None, order=order.reference, amount=amount)
    _mark_paid(order, charge["id"])


@charge_card.owed(since="placed_at", grace=GRACE, debt=ONCE)
def unpaid_orders() -> QuerySet[Order]:
    return Order.objects.filter(status=Order.Status.PLACED, charge_id=None)


def _mark_paid(order: Order, charge_id: str) -> None:
    Order.objects.filter(pk=order.pk).update(charge_id=charge_id, status=Order.Status.PAID)


@effect("shop.send_receipt", on=order_placed, dependency="mail", backoff=BACKOFF)
def send_receipt(order: Order, ctx: Ctx) -> None:
    """Mail the customer a receipt."""
    call("mail", ctx, order=order.reference, to=order.email, subject=f"Your order {order}")
    Order.objects.filter(pk=order.pk).update(receipt_sent_at=timezone.now())


@send_receipt.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_without_receipt() -> QuerySet[Order]:
    return Order.objects.filter(receipt_sent_at=None)


@effect("shop.reserve_stock", on=order_placed, dependency="warehouse", backoff=BACKOFF)
def reserve_stock(order: Order, ctx: Ctx) -> None:
    """Set the goods aside in the warehouse."""
    call(
        "warehouse",
        ctx,
        order=order.reference,
        product=order.product.slug,
        quantity=order.quantity,
    )
    Order.objects.filter(pk=order.pk).update(stock_reserved_at=timezone.now())


@reserve_stock.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_without_stock() -> QuerySet[Order]:
    return Order.objects.filter(stock_reserved_at=None)


@effect("shop.update_crm", on=order_placed, dependency="crm", backoff=BACKOFF)
def update_crm(order: Order, ctx: Ctx) -> None:
    """Tell the customer file about the order."""
    call("crm", ctx, order=order.reference, email=order.email)
    Order.objects.filter(pk=order.pk).update(crm_told_at=timezone.now())


@update_crm.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_unknown_to_crm() -> QuerySet[Order]:
    return Order.objects.filter(crm_told_at=None)


@effect(
    "shop.track_analytics",
    on=order_placed,
    dependency="analytics",
    harmless_to_repeat=True,
    backoff=BACKOFF,
)
def track_analytics(order: Order, ctx: Ctx) -> None:
    """Count the sale. Analytics knows repeats by their key, so a group may run again."""
    # In a header: an event that was lost and made up does not know it, and what is asked for under
    # one key must stay the same.
    told = {"Placed-From": ctx.payload.placed_from}
    call("analytics", ctx, headers=told, order=order.reference)
    Order.objects.filter(pk=order.pk).update(counted_at=timezone.now())


@track_analytics.owed(since="placed_at", grace=GRACE, debt=ONCE)
def uncounted_orders() -> QuerySet[Order]:
    return Order.objects.filter(counted_at=None)


@effect(
    "shop.index_order",
    on=order_placed,
    dependency="search",
    harmless_to_repeat=True,
    backoff=BACKOFF,
)
def index_order(order: Order, ctx: Ctx) -> None:
    """Make the order searchable. The index holds the last write, so repeats change nothing."""
    call("search", ctx, order=order.reference, text=f"{order.email} {order.product.name}")
    Order.objects.filter(pk=order.pk).update(indexed_at=timezone.now())


@index_order.owed(since="placed_at", grace=GRACE, debt=ONCE)
def unsearchable_orders() -> QuerySet[Order]:
    return Order.objects.filter(indexed_at=None)


@effect("shop.add_loyalty_points", on=order_placed, atomic=True)
def add_loyalty_points(order: Order, ctx: Ctx) -> None:  # noqa: ARG001  # our own rows need no key
    """Give the customer points: our own rows only, so `atomic` makes it exactly once."""
    points = int(order.total)
    account, _ = LoyaltyAccount.objects.get_or_create(email=order.email)
    LoyaltyEntry.objects.create(account=account, order=order, points=points)
    LoyaltyAccount.objects.filter(pk=account.pk).update(points=F("points") + points)


@add_loyalty_points.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_without_points() -> QuerySet[Order]:
    return Order.objects.filter(loyaltyentry=None)


@effect("shop.gift_wrap", on=order_placed, dependency="giftwrap", backoff=BACKOFF)
def gift_wrap(order: Order, ctx: Ctx) -> None:
    """Have the order wrapped. What is no gift does not owe it, and so it ends as skipped."""
    call("giftwrap", ctx, order=order.reference, quantity=order.quantity)
    Order.objects.filter(pk=order.pk).update(wrapped_at=timezone.now())


@gift_wrap.owed(since="placed_at", grace=GRACE, debt=ONCE)
def unwrapped_gifts() -> QuerySet[Order]:
    return Order.objects.filter(gift=True, wrapped_at=None)


@effect("shop.print_label", on=order_placed, dependency="labels", backoff=BACKOFF)
def print_label(order: Order, ctx: Ctx) -> None:
    """Print the address label. No label sticks to a cursed vase: that needs a person."""
    if order.product.slug == CURSED:
        raise Poison("No label sticks to a cursed vase.")
    call("labels", ctx, order=order.reference)
    Order.objects.filter(pk=order.pk).update(label_printed_at=timezone.now())


@print_label.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_without_label() -> QuerySet[Order]:
    return Order.objects.filter(label_printed_at=None)


@effect("shop.open_shipment", on=order_placed)
def open_shipment(order: Order, ctx: Ctx) -> None:  # noqa: ARG001  # the emit knows its delivery
    """Open a shipment and say so. A repeat finds the same shipment and the same event."""
    with transaction.atomic():
        shipment, is_new = Shipment.objects.get_or_create(order=order)
        if is_new:  # by the database's clock, as its `since=` is read: ours may be an hour ahead
            Shipment.objects.filter(pk=shipment.pk).update(opened_at=Now())
        shipment_opened.emit(shipment)


@open_shipment.owed(since="placed_at", grace=GRACE, debt=ONCE)
def orders_without_shipment() -> QuerySet[Order]:
    return Order.objects.filter(shipment=None)


@effect("shop.notify_carrier", on=shipment_opened, dependency="carrier", backoff=BACKOFF)
def notify_carrier(shipment: Shipment, ctx: EffectContext[dict[str, object]]) -> None:
    """Order the carrier to come, and keep the reference it gives."""
    answer = call("carrier", ctx, order=shipment.order.reference)
    Shipment.objects.filter(pk=shipment.pk).update(carrier_reference=answer["id"])


@notify_carrier.owed(since="opened_at", grace=GRACE, debt=ONCE)
def shipments_without_carrier() -> QuerySet[Shipment]:
    return Shipment.objects.filter(carrier_reference="")


@effect("shop.end_trial", on=trial_ended, atomic=True)
def end_trial(expiry: TrialExpiry, ctx: EffectContext[dict[str, object]]) -> None:  # noqa: ARG001  # as above
    """Have the customer pay postage again. Who has become a paying member since then stays one."""
    member = Membership.objects.filter(pk=expiry.membership_id, plan=Membership.Plan.TRIAL)
    member.update(plan=Membership.Plan.BASIC)


@end_trial.owed(since="at", grace=GRACE, debt=ONCE)
def trials_that_go_on() -> QuerySet[TrialExpiry]:
    over = TrialExpiry.objects.filter(state=JobState.DONE)
    return over.filter(membership__plan=Membership.Plan.TRIAL)


@effect("shop.tell_trial_ended", on=trial_ended, dependency="mail", backoff=BACKOFF)
def tell_trial_ended(expiry: TrialExpiry, ctx: EffectContext[dict[str, object]]) -> None:
    """Mail the customer that the trial is over."""
    to = expiry.membership.email
    call("mail", ctx, order=expiry.reference, to=to, subject="Your trial of Plus has ended")
    TrialExpiry.objects.filter(pk=expiry.pk).update(told_at=timezone.now())


@tell_trial_ended.owed(since="at", grace=GRACE, debt=ONCE)
def trials_that_ended_in_silence() -> QuerySet[TrialExpiry]:
    return TrialExpiry.objects.filter(state=JobState.DONE, told_at=None)
