"""Rules of the web process and of people: emit, promise, roll back, redrive, cancel."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.db import transaction
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reliable_effects.effects.event import Event
from reliable_effects.outbox import remedy
from reliable_effects.outbox.states import CANCELLABLE, REDRIVABLE, Flag, Reason, State
from tests.shop.models import Order

from .world import HERE, ORDERS, World

ANY_ORDER = st.integers(0, ORDERS - 1)
EVENTS = st.sampled_from(["placed", "seen", "seen"])  # groups need company
SOME = st.lists(st.integers(0, 999), min_size=1, max_size=5)


class RolledBack(Exception):
    """What a request raises inside its transaction."""


class Web(World):
    def open_the_shop(self) -> None:
        """With something to do: most rules need a delivery."""
        with transaction.atomic():
            placed = [self._emit("placed", 0, None)]
        self._owed_now("placed", placed)
        with transaction.atomic():
            seen = [self._emit("seen", order, None) for order in range(ORDERS)]
        self._owed_now("seen", seen)
        with transaction.atomic():
            promised = self.effects.owe.promise(self.orders[0])
        self.look(born_of=[promised.event_id])
        self._are_owed({(promised.event_id, "machine.owe")})

    @rule(
        event=EVENTS,
        orders=st.lists(ANY_ORDER, min_size=1, max_size=3),
        once=st.sampled_from([None, None, "named"]),
        is_rolled_back=st.sampled_from([False, False, True]),
    )
    def emit(self, event: str, orders: list[int], once: str | None, is_rolled_back: bool) -> None:
        declared: Event[Order, Any] = getattr(self.effects, event)
        facts = [(self.orders[order], None) for order in orders]
        try:
            with transaction.atomic():
                emitted = declared.emit_many(facts, once=once)
                if is_rolled_back:
                    raise RolledBack  # noqa: TRY301  # as a view does
        except RolledBack:
            self.did("emit, rolled back")
            self.look()
        else:
            self.did("emit")
            self._owed_now(event, [one.event_id for one in emitted])

    @rule(event=EVENTS, lost=ANY_ORDER, kept=ANY_ORDER, kept_first=st.booleans())
    def emit_in_a_savepoint(self, event: str, lost: int, kept: int, kept_first: bool) -> None:
        """The savepoint is rolled back, and the transaction around it commits."""
        with transaction.atomic():
            ids = [self._emit(event, kept, None)] if kept_first else []
            try:
                with transaction.atomic():
                    self._emit(event, lost, None)
                    self.effects.owe.promise(self.orders[lost])
                    raise RolledBack  # noqa: TRY301
            except RolledBack:
                self.did("emit in a savepoint, rolled back")
            if not kept_first:
                ids = [self._emit(event, kept, None)]
        self._owed_now(event, ids)

    @rule(order=ANY_ORDER, which=st.sampled_from(["owe", "owe", "wrap"]))
    def promise(self, order: int, which: str) -> None:
        """A debt, perhaps once more: in whatever state it is by now."""
        subject = self.orders[order]
        effect = getattr(self.effects, which)
        what = f"{effect.name} because of order {subject.pk}"
        stood = [pk for pk, debt in self.model.debts.items() if debt.what == what]
        with transaction.atomic():
            emitted = effect.promise(subject)
        before, after, _ = self.look(may_change=stood, born_of=[emitted.event_id])
        if not stood:
            self.did("promise")
            self._are_owed({(emitted.event_id, effect.name)})
            return
        (pk,) = stood
        was, now = before.deliveries[pk], after.deliveries[pk]
        self.did(f"promise again while {State(was['state']).label}")
        ended = was["state"] == State.CANCELLED or (
            was["state"] == State.SKIPPED and was["reason"] == Reason.NOT_NEEDED
        )
        fresh = was["state"] == State.PENDING and not was["flags"] & Flag.BEGUN
        if ended or fresh:
            assert now["event_id"] == emitted.event_id
            assert (now["state"], now["attempts"]) == (State.PENDING, 0)
            assert emitted.promised == (effect.name,)
        else:
            assert now == was, "a debt that stands was changed"
            assert emitted.already_promised == (effect.name,)

    @rule(
        order=ANY_ORDER,
        change=st.sampled_from(["close", "open", "refund", "open", "refund", "delete"]),
    )
    def business_goes_on(self, order: int, change: str) -> None:
        rows = Order.objects.filter(pk=self.orders[order].pk)
        match change:
            case "close":
                rows.update(status="closed")
            case "open":
                rows.update(status="placed")
            case "refund":  # owed again
                rows.update(charge_id="")
            case "delete":
                rows.delete()
                self.orders[order] = self.new_order()
        self.did(f"business: {change}")
        self.look()

    @precondition(lambda self: self.any_in(REDRIVABLE))
    @rule(numbers=SOME)
    def redrive(self, numbers: list[int]) -> None:
        """What may be is, and what may not is left alone: of any rows."""
        ids = self.pick(self.rows.deliveries, numbers)
        ids += self.pick(self.all_in(REDRIVABLE), numbers[:1])
        changed = remedy.redrive(remedy.of(HERE, ids), by="machine", why="to see")
        wanted = {pk for pk in ids if self.rows.deliveries[pk]["state"] in REDRIVABLE}
        assert {row.pk for row in changed} == wanted
        _, after, _ = self.look(may_change=wanted)
        for pk in wanted:
            self.did("redrive")
            row = after.deliveries[pk]
            assert (row["state"], row["attempts"]) == (State.PENDING, 0)

    @rule(numbers=SOME)
    def cancel(self, numbers: list[int]) -> None:
        ids = self.pick(self.rows.deliveries, numbers)[:2]
        changed = remedy.cancel(remedy.of(HERE, ids), by="machine", why="to see")
        wanted = {pk for pk in ids if self.rows.deliveries[pk]["state"] in CANCELLABLE}
        assert {row.pk for row in changed} == wanted
        before, after, _ = self.look(may_change=wanted)
        for pk in wanted:
            self.did("cancel")
            row, was = after.deliveries[pk], before.deliveries[pk]
            assert (row["state"], row["attempts"]) == (State.CANCELLED, was["attempts"])

    def _emit(self, event: str, order: int, once: str | None) -> UUID:
        declared: Event[Order, Any] = getattr(self.effects, event)
        return declared.emit(self.orders[order], once=once).event_id

    def _owed_now(self, event: str, ids: list[UUID]) -> None:
        """Exactly the event's effects are owed, each once; what stood before stays as it was."""
        self.look(born_of=ids)
        names = {
            effect.name
            for effect in self.effects.by_name().values()
            if effect.on is not None and effect.on.name == f"machine.{event}"
        }
        self._are_owed({(event_id, name) for event_id in ids for name in names})

    def _are_owed(self, wanted: set[tuple[UUID, str]]) -> None:
        found = Counter((row["event_id"], row["effect"]) for row in self.rows.deliveries.values())
        for pair in wanted:
            # One of a `once` event may have been pruned; then the event is there, and the debt over.
            assert found[pair] == 1 or self._was_pruned(pair), f"not owed, and committed: {pair}"
        events = {event_id for event_id, _ in wanted}
        stray = [pair for pair in found if pair[0] in events and pair not in wanted]
        assert not stray, f"owed, and never emitted: {stray}"

    def _was_pruned(self, pair: tuple[UUID, str]) -> bool:
        event_id, name = pair
        return f"{name} because of event {event_id}" in self.model.forgotten
