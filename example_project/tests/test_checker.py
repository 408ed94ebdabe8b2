"""The checker is the judge of `make prove`, so each class of failure is planted and must be seen."""

from __future__ import annotations

import dataclasses

import pytest

from example_project.checker import (
    ALWAYS,
    Arrival,
    PlacedOrder,
    asked_on_both_sides,
    charges,
    check,
)

PLAIN = PlacedOrder(
    reference="A-1",
    charge_id="payment-1",
    written_down=frozenset([*ALWAYS, "labels"]) - {"payment"},
    loyalty_entries=1,
    has_shipment=True,
)


def arrived(partner: str, reference: str = "A-1", key: str = "", **changes) -> Arrival:
    made = Arrival(
        partner=partner,
        key=key or f"{partner}:{reference}",
        reference=reference,
        applied=True,
        status=200,
        answer_id=f"{partner}-1",
    )
    return dataclasses.replace(made, **changes)


def everything(reference: str = "A-1", *more: str) -> list[Arrival]:
    return [arrived(partner, reference) for partner in (*ALWAYS, "labels", *more)]


def judge(arrivals, *, orders=(PLAIN,), acknowledged=("A-1",), **more):
    return check(acknowledged=acknowledged, orders=orders, arrivals=arrivals, **more)


def test_an_order_whose_effects_all_arrived_once_is_sound():
    verdict = judge(everything())

    assert verdict.is_sound
    assert (verdict.promised, verdict.done, verdict.skipped, verdict.poisoned) == (11, 10, 1, 0)
    assert verdict.extra_runs == 0


def test_a_gift_is_wrapped_and_a_cursed_vase_gets_no_label():
    """What is owed depends on the order; the numbers must still add up."""
    order = dataclasses.replace(
        PLAIN, gift=True, cursed=True, written_down=(PLAIN.written_down | {"giftwrap"}) - {"labels"}
    )
    calls = [a for a in everything("A-1", "giftwrap") if a.partner != "labels"]

    verdict = judge(calls, orders=[order])

    assert verdict.is_sound
    assert (verdict.promised, verdict.done, verdict.skipped, verdict.poisoned) == (11, 10, 0, 1)


@pytest.mark.parametrize("partner", [*ALWAYS, "labels"])
def test_a_partner_that_was_never_reached_is_a_loss(partner):
    verdict = judge([a for a in everything() if a.partner != partner])

    assert verdict.lost == [f"A-1: {partner} was never reached"]
    assert verdict.done == 9
    assert not verdict.is_sound


def test_a_call_that_only_failed_is_a_loss():
    """Arriving is not happening: the partner turned it away."""
    calls = [a for a in everything() if a.partner != "mail"]

    verdict = judge([*calls, arrived("mail", applied=False, status=500)])

    assert verdict.lost == ["A-1: mail was never reached"]


def test_an_acknowledged_order_that_is_gone_is_a_loss():
    verdict = judge(everything(), acknowledged=["A-1", "A-2"])

    assert verdict.lost == ["A-2: acknowledged, but there is no such order"]


@pytest.mark.parametrize(
    ("column", "value", "loss"),
    [
        ("loyalty_entries", 0, "no loyalty points"),
        ("has_shipment", False, "no shipment"),
        ("charge_id", None, "paid as payment-1, written down as None"),
        ("charge_id", "payment-9", "paid as payment-1, written down as payment-9"),
    ],
)
def test_what_the_shop_failed_to_write_down_is_a_loss(column, value, loss):
    verdict = judge(everything(), orders=[dataclasses.replace(PLAIN, **{column: value})])

    assert verdict.lost == [f"A-1: {loss}"]


@pytest.mark.parametrize("partner", sorted(PLAIN.written_down))
def test_what_a_partner_did_and_the_row_does_not_know_is_a_loss(partner):
    """Were the outbox lost now, the row would owe it again, for ever."""
    order = dataclasses.replace(PLAIN, written_down=PLAIN.written_down - {partner})

    verdict = judge(everything(), orders=[order])

    assert verdict.lost == [f"A-1: {partner} did its part, but that is not written down"]


def test_a_call_for_an_order_that_rolled_back_is_a_phantom():
    verdict = judge([*everything(), arrived("mail", "A-2", applied=False, status=500)])

    assert verdict.phantom == ["A-2: mail was called, but there is no such order"]
    assert not verdict.is_sound


@pytest.mark.parametrize(
    ("order", "partner"),
    [(PLAIN, "giftwrap"), (dataclasses.replace(PLAIN, cursed=True), "labels")],
)
def test_a_call_that_nothing_asked_for_is_a_phantom(order, partner):
    calls = [a for a in everything() if a.partner != partner]

    verdict = judge([*calls, arrived(partner)], orders=[order])

    assert verdict.phantom == [f"A-1: {partner} was called, which nothing asked for"]


def test_one_effect_applied_under_two_keys_is_a_double():
    verdict = judge([*everything(), arrived("payment", key="another", answer_id="payment-2")])

    assert verdict.doubled == ["A-1: payment applied it under 2 keys"]
    assert not verdict.is_sound


def test_one_effect_asked_for_under_two_keys_is_unsound_although_it_was_applied_once():
    """Had the first call been applied, the partner could not have known the second for a repeat."""
    turned_away = arrived("payment", key="another", applied=False, status=500)

    verdict = judge([turned_away, *everything()])

    assert verdict.rekeyed == ["A-1: payment was asked under 2 keys"]
    assert not verdict.doubled
    assert not verdict.is_sound


def test_calls_on_both_sides_of_a_loss_show_whether_the_key_survived_it():
    """Key for key: what the lost table knew is not needed to ask again with the same one."""
    before = [arrived("mail", applied=False, status=500), arrived("crm"), arrived("search")]
    after = [arrived("mail"), arrived("crm", key="another"), arrived("labels")]

    assert asked_on_both_sides([*before, *after], [3]) == (2, 1)


def test_of_two_losses_either_may_lie_between_the_calls():
    calls = [arrived("mail"), arrived("crm"), arrived("mail"), arrived("crm")]

    assert asked_on_both_sides(calls, [1, 3]) == (2, 2)
    assert asked_on_both_sides(calls, []) == (0, 0)


def test_loyalty_points_given_twice_are_a_double():
    verdict = judge(everything(), orders=[dataclasses.replace(PLAIN, loyalty_entries=2)])

    assert verdict.doubled == ["A-1: 2 entries of loyalty points"]
    assert not verdict.is_sound


def test_a_repeat_under_the_same_key_is_an_extra_run_and_no_double():
    """It is what a killed worker costs, and the key makes it harmless."""
    again = arrived("mail", applied=False)

    verdict = judge([*everything(), again], crashes=4)

    assert verdict.is_sound
    assert verdict.extra_runs == 1
    assert verdict.extra_per_crash == 0.25


@pytest.mark.parametrize("status", [0, 429, 500])
def test_a_repeat_after_no_good_answer_is_no_extra_run(status):
    """The first call of these failed, or its answer was lost: sending it again was right."""
    first = arrived("mail", applied=status == 0, status=status)
    rest = [a for a in everything() if a.partner != "mail"]

    verdict = judge([first, arrived("mail", applied=status != 0), *rest])

    assert verdict.is_sound
    assert verdict.extra_runs == 0


def test_repeats_that_were_declared_harmless_are_counted_apart():
    verdict = judge([*everything(), arrived("analytics", applied=False)], crashes=1)

    assert (verdict.extra_runs, verdict.extra_harmless) == (0, 1)


def test_no_orders_and_no_arrivals_are_sound():
    verdict = judge([], orders=[], acknowledged=[])

    assert verdict.is_sound
    assert verdict.promised == 0


def test_a_card_that_was_charged_twice_is_named():
    """What the whole proof is about."""
    calls = [
        arrived("payment", "A-1", "k1", status=0),
        arrived("payment", "A-1", "k1", applied=False),
        arrived("payment", "A-2"),
        arrived("payment", "A-3", "k3"),
        arrived("payment", "A-3", "k4"),
        arrived("mail", "A-1", status=0),
    ]

    made = charges(calls)

    assert (made.applied, made.unanswered, made.asked_again) == (4, 1, 2)
    assert made.twice == ["A-3"]
