"""The effects of ours: like what the peers have, re-checked, and one function for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reliable_effects import EffectContext, effect

from .carry_out import act
from .events import placed, shipped, viewed
from .models import Order


def _is_placed(order: Order) -> bool:
    return order.status == "placed"


def _that(number: int, kind: str) -> Callable[[Order, EffectContext[Any]], None]:
    def carry_out(order: Order, _ctx: EffectContext[Any]) -> None:
        act(order.pk, number, kind)

    return carry_out


for _size, _event in placed.items():
    for _number in range(_size):
        effect(f"bench.noop_{_size}_{_number}", on=_event, still_needed=_is_placed)(
            _that(_number, "noop")
        )

for _number in range(10):
    effect(f"bench.slow_{_number}", on=shipped, still_needed=_is_placed)(_that(_number, "slow"))

effect("bench.refresh", on=viewed, still_needed=_is_placed, harmless_to_repeat=True)(
    _that(0, "harmless")
)
