"""
What is left after a death and a drain, compared with what partners, client and shop know.

`look` takes the picture, `judge` compares. A problem is a sentence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from reliable_effects.effects.registry import registry
from reliable_effects.outbox.models import Attempt, Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.schedule.states import JobState
from tests.shop.models import LedgerEntry, Order, TrialExpiry

from . import outer_world
from .acts.act import Act


@dataclass(frozen=True)
class Picture:
    """Where everything stands, without the numbers that no two runs have in common."""

    states: dict[str, list[str]]  # by effect
    events: dict[str, int]
    jobs: dict[str, str]  # what became of each, by event and key
    attempts: dict[str, int]  # by effect, the most
    lost_runs: int  # attempts whose worker was not heard of again


@dataclass
class Findings:
    lost: int = 0
    phantom: int = 0
    extra_runs: int = 0
    problems: list[str] = field(default_factory=list)

    def expect(self, is_well: bool, problem: str) -> None:
        if not is_well:
            self.problems.append(problem)


def look() -> dict[str, Any]:
    states: dict[str, list[str]] = {}
    attempts: dict[str, int] = {}
    for effect, state, tries in Delivery.objects.values_list("effect", "state", "attempts"):
        states.setdefault(effect, []).append(_outcome(effect, State(state)))
        attempts[effect] = max(tries, attempts.get(effect, 0))
    return asdict(
        Picture(
            states={effect: sorted(all_) for effect, all_ in states.items()},
            events=dict(Counter(OutboxEvent.objects.values_list("name", flat=True))),
            jobs=_jobs(),
            attempts=attempts,
            lost_runs=Attempt.objects.filter(outcome=Attempt.Outcome.LOST).count(),
        )
    )


def _jobs() -> dict[str, str]:
    rows = ScheduledJob.objects.order_by("created_at", "pk")
    ours = rows.values_list("event", "key", "state")
    found: dict[str, str] = {}
    for event, key, state in ours:
        # Keys of new orders carry their numbers, which no two runs have in common.
        name = f"{event} {key.rstrip('0123456789')}"
        found[name] = " ".join(filter(None, (found.get(name), JobState(state).name)))
    typed = TrialExpiry.objects.values_list("pk", "state").order_by("pk")
    return found | {f"trial {n}": JobState(state).name for n, (_, state) in enumerate(typed)}


def _outcome(effect: str, state: State) -> str:
    # A second run asks the owed query, and that says that the first has done it.
    known = registry.find_effect(effect)
    is_debt = known is not None and known.owed_query is not None
    return "SUCCEEDED" if is_debt and state == State.SKIPPED else state.name


def judge(
    act: Act, whole: dict[str, Any] | None = None, untouched: dict[str, Any] | None = None
) -> Findings:
    """*whole* is the picture after an act that nobody killed, *untouched* where none was begun."""
    found = Findings()
    orders = set(Order.objects.values_list("pk", flat=True))
    rows = list(Delivery.objects.select_related("event"))
    _compare_with_partners(act, orders, rows, found)
    for row in rows:
        _check_row(row, found)
    found.expect(not ScheduledJob.objects.due().exists(), "a job is due, and no tick took it")
    _compare_with_client(act, orders, found)
    if whole is not None and untouched is not None:
        was_made = not act.makes_orders or bool(orders)
        _compare_with_a_whole_act(act, untouched, whole if was_made else untouched, found)
    return found


def _compare_with_partners(
    act: Act, orders: set[int], rows: list[Delivery], found: Findings
) -> None:
    # An order is there or not: that is what was committed, whatever the client has heard.
    owed = {f"{order} {word}" for order in orders for word in act.owed}
    succeeded = {_word(row) for row in rows if row.state == State.SUCCEEDED}
    verdict = outer_world.partner().judge(
        owed | succeeded, in_doubt=succeeded if act.may_stay else ()
    )
    called = {call.what for call in outer_world.partner().calls()}
    found.lost = verdict.lost
    found.phantom = len(called - owed - (succeeded if act.may_stay else set()))
    found.extra_runs = verdict.extra_runs
    found.expect(verdict.lost == 0, f"lost: {sorted((owed | succeeded) - called)}")
    found.expect(found.phantom == 0, f"phantom: {sorted(called - owed)}, owed are {sorted(owed)}")
    found.expect(
        verdict.extra_runs <= act.extra_runs,
        f"{verdict.extra_runs} extra runs: {outer_world.partner().calls()}",
    )
    found.expect(verdict.other_keys == 0, f"a second key: {outer_world.partner().calls()}")
    keys = {_word(row): row.idempotency_key for row in rows}
    for call in outer_world.partner().calls():
        found.expect(
            keys.get(call.what, call.key) == call.key, f"{call} has not its delivery's key"
        )


def _check_row(row: Delivery, found: Findings) -> None:
    name = f"{row.effect} in {State(row.state).name}"
    found.expect(row.state not in (State.PENDING, State.RUNNING), f"{name} is stuck")
    found.expect(row.state != State.UNCERTAIN or row.look_at is None, f"{name} is stuck")
    effect = registry.find_effect(row.effect)
    if effect is None:
        found.problems.append(f"{name}: nobody knows it")
        return
    found.expect(row.attempts <= effect.max_attempts, f"{name} has {row.attempts} attempts")
    if effect.atomic:
        written = LedgerEntry.objects.filter(
            order_pk=row.event.subject_pk, what=_word(row).partition(" ")[2]
        ).count()
        expected = int(row.state == State.SUCCEEDED)
        found.expect(written == expected, f"{name} has written {written} times")


def _compare_with_client(act: Act, orders: set[int], found: Findings) -> None:
    if not act.makes_orders:
        return
    knows = outer_world.client_knows()
    if "committed" in knows:
        found.expect(bool(orders), "the client was told of a commit, and it is not there")
    if "leaving" not in knows:
        found.expect(not orders, "an order is there, and nobody has sent a COMMIT")
        found.expect(not OutboxEvent.objects.exists(), "an event of a change that is not there")


def _compare_with_a_whole_act(
    act: Act, untouched: dict[str, Any], whole: dict[str, Any], found: Findings
) -> None:
    """But for its one lost run, a death changes nothing in how all of it ends."""
    after = look()
    if act.may_stay and "committed" not in outer_world.client_knows():
        for effect, states in after["states"].items():
            may_be = {*untouched["states"].get(effect, ()), *whole["states"].get(effect, ())}
            found.expect(set(states) <= may_be, f"{effect} is {states}, may be {may_be}")
    else:
        for what in ("states", "events", "jobs"):
            found.expect(after[what] == whole[what], f"{what}: {after[what]}, not {whole[what]}")
    for effect, tries in after["attempts"].items():
        most = max(p["attempts"].get(effect, 0) for p in (untouched, whole)) + 1
        found.expect(tries <= most, f"{effect} has {tries} attempts, {most} were enough")
    lost_runs = after["lost_runs"] - whole["lost_runs"]
    found.expect(lost_runs <= max(act.extra_runs, 1), f"{lost_runs} runs for one death")


def _word(row: Delivery) -> str:
    return f"{row.event.subject_pk} {row.effect.removeprefix('crash.')}"
