"""Guards of reconcile: what is owed is promised once, and what was decided stays decided."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_CLASSIFY, _MEND = "reconcile/classify.py", "reconcile/mend.py"
_OWING, _WALK = "reconcile/owing.py", "reconcile/walk.py"

RECONCILE: tuple[Mutant, ...] = (
    mutant(
        "promise without asking again",
        "P9: what was paid meanwhile is promised",
        (_MEND, "still = ask_again(effect, using, [found.owing.pk for found in batch])",
         "still = {str(row.pk): row for row in effect.event.model._base_manager.all()}"),
        by=("reconcile/test_unaccounted.py::test_what_is_paid_meanwhile_is_not_promised",),
    ),
    mutant(
        "promise without verifying",
        "P3: what happened, and whose row was lost, is done again",
        (_MEND, "state=State.UNCERTAIN if can_verify else State.PENDING", "state=State.PENDING"),
        by=("reconcile/test_unaccounted.py::test_what_can_be_verified_is_verified_first",),
    ),
    mutant(
        "reopen whatever stands there now",
        "R15: a person's decision is overridden",
        (_MEND, "pk=row.pk, state=row.state, reason=row.reason, finished_at=row.finished_at",
         "pk=row.pk"),
        by=("reconcile/test_findings.py::test_a_delivery_that_somebody_changed_meanwhile_is_left",),
    ),
    mutant(
        "reopen what was cancelled",
        "R15: a person's decision is overridden",
        (_CLASSIFY, "State.CANCELLED: Finding.CANCELLED", "State.CANCELLED: Finding.OWED_AGAIN"),
        by=("reconcile/test_findings.py::test_what_waits_or_was_decided_is_left_alone",),
    ),
    mutant(
        "adopt nothing",
        "design 4: a debt from before the owed query is paid a second time, under another key",
        (_CLASSIFY, " or adopted.get(owing.pk)", ""),
        by=("reconcile/test_unaccounted.py::test_deliveries_from_before_the_owed_query_are_adopted",),
    ),
    mutant(
        "no grace",
        "P9: what is under way is taken for lost",
        (_WALK, "return Span(until=now - grace)", "return Span(until=now)"),
        by=("reconcile/test_unaccounted.py::test_within_the_grace_nobody_is_alarmed",),
    ),
    mutant(
        "pass over what knows no since",
        "P9: nobody would ever find it",
        (_OWING, " | Q(**{owed.since: None})", ""),
        by=("reconcile/test_walks.py::test_what_does_not_know_since_when_it_owes_is_seen_by_the_daily_walk",),
    ),
    mutant(
        "no bound for what a walk promises",
        "R7: after an outage partners are run over",
        (_WALK, "return min(settings().reconcile_limit, ramp, most - backlog)", "return 10**6"),
        by=("reconcile/test_walks.py",),
    ),
    mutant(
        "a slow walk turns the next one back",
        "P9: rows are left out for a day",
        (_WALK, "pk=walk.pk, began_at=walk.began_at, is_under_way=True", "pk=walk.pk"),
        by=("reconcile/test_walks.py::test_a_walk_that_another_has_ended_writes_nothing_more",),
    ),
)  # fmt: skip
