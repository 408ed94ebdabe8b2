"""Guards of what a worker does: claim, run, complete, fail, group."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_CLAIMED, _FINISH, _SUCCEED = "outbox/claimed.py", "outbox/finish.py", "outbox/succeed.py"
_CLAIM, _PORTABLE = "outbox/claim_postgresql.py", "outbox/claim_portable.py"
_ZOMBIE = "outbox/test_claim.py::test_a_zombie_changes_nothing_after_its_lease"
_MAY_NOT_RUN = "outbox/test_claim.py::test_what_may_not_run_now_is_not_claimed"
_UNDUE = "outbox/test_claim.py::test_what_became_undue_between_look_and_claim_is_not_claimed"
_ONE_CLAIMS = "outbox/test_claim.py::test_of_two_workers_one_claims"
_COUNTED = "outbox/test_claim.py::test_a_claim_counts_the_attempt_before_anything_runs"
_NOT_MINE = "outbox/test_states.py::test_a_worker_writes_nothing_over_another_workers_run"
_ANOTHER_QUESTION = "outbox/test_claim.py::test_what_is_another_question_by_now_is_not_claimed"
_ENDED = "outbox/test_claim.py::test_a_row_that_ended_is_not_claimed_by_a_late_hint"

FENCE: tuple[Mutant, ...] = (
    mutant(
        "no fence at completion",
        "P6: a zombie completes what another worker runs",
        (_SUCCEED, 'WHERE d.id = %s AND d.claim_token = %s"', 'WHERE d.id = %s AND 0 < %s"'),
        by=(_ZOMBIE,),
    ),
    mutant(
        "no fence at completion with the next claim",
        "P6: the same, in the joined message",
        (
            "outbox/one_trip.py",
            'f"{complete_sql(connection)} RETURNING d.id"',
            'f"{complete_sql(connection)} RETURNING d.id".replace("d.claim_token =", "0 <")',
        ),
        by=("outbox/test_claim.py",),
        on="postgres",
    ),
    mutant(
        "no fence at a group's completion",
        "P6: a group completes what it has lost",
        (_SUCCEED, "WHERE d.claim_token = v.token ORDER BY", "WHERE 0 < v.token ORDER BY"),
        by=("outbox/test_groups.py::test_a_group_completes_only_what_it_still_holds",),
        on="postgres",
    ),
    mutant(
        "no fence at failure",
        "P6: a zombie's failure, snooze or skip goes over a newer run",
        (
            _FINISH,
            "filter(pk=claimed.id, claim_token=claimed.token)\n\n    def write",
            "filter(pk=claimed.id)\n\n    def write",
        ),
        by=(_NOT_MINE,),
    ),
    mutant(
        "no fence at the heartbeat",
        "P6: a zombie prolongs another's lease",
        (
            _FINISH,
            "filter(pk=claimed.id, claim_token=claimed.token)\n    return surely(claimed.using, lambda: rows.update(l",
            "filter(pk=claimed.id)\n    return surely(claimed.using, lambda: rows.update(l",
        ),
        by=(_ZOMBIE,),
    ),
    mutant(
        "an atomic effect commits without its lease",
        "P4: the writes of two runs stand",
        ("outbox/run.py", "if not completed:", "if False:"),
        by=("outbox/test_run_atomic.py",),
    ),
    mutant(
        "the token is kept by a release",
        "P6: what is free carries a token that still fits",
        (_FINISH, "lambda: held_by(using, group).update(\n            claim_token=None,\n",
         "lambda: held_by(using, group).update(\n"),
        by=("outbox/test_groups.py::test_what_a_group_has_no_time_for_is_released_and_handed_on",),
    ),
    mutant(
        "the token is kept by a snooze",
        "P6: the way out of RUNNING leaves its token",
        (_FINISH, "claim_token=None,\n                lease_expires_at=None,\n                flags",
         "lease_expires_at=None,\n                flags"),
        by=("outbox/test_states.py::test_every_way_out_of_running_empties_token_and_lease",),
    ),
    mutant(
        "the same token at each claim",
        "P6: the second run of a worker is taken for its first",
        (_CLAIMED, "return secrets.randbits(63)", "return 7"),
        by=("outbox/test_claim.py::test_a_new_claim_has_a_new_token",),
    ),
)  # fmt: skip

CLAIM: tuple[Mutant, ...] = (
    mutant(
        "claim in any state (PostgreSQL)",
        "R1: a late hint runs what has ended or runs",
        (_CLAIM, "l.state = {state} AND l.due_at", "{state} IS NOT NULL AND l.due_at"),
        by=(_ENDED, _MAY_NOT_RUN, _ANOTHER_QUESTION),
        on="postgres",
    ),
    mutant(
        "claim in any state",
        "R1: a late hint runs what has ended or runs",
        (_PORTABLE, "state=state, due_at__lte", "due_at__lte"),
        by=(_ENDED, _MAY_NOT_RUN, _ANOTHER_QUESTION),
    ),
    mutant(
        "claim before it is due (PostgreSQL)",
        "R1: a hint that comes early runs what was snoozed",
        (_CLAIM, "AND l.due_at <= {now} AND l.look_at", "AND l.look_at"),
        by=(_UNDUE,),
        on="postgres",
    ),
    mutant(
        "claim before it is due",
        "R1: a hint that comes early runs what was snoozed",
        (_PORTABLE, "state=state, due_at__lte=DbNow(), look_at", "state=state, look_at"),
        by=(_UNDUE,),
    ),
    mutant(
        "claim what waits for a person",
        "design 4: an UNCERTAIN row whose look_at is empty runs again",
        (_PORTABLE, "due_at__lte=DbNow(), look_at__isnull=False\n", "due_at__lte=DbNow()\n"),
        by=(_ANOTHER_QUESTION,),
    ),
    mutant(
        "look_at taken for due_at at the claim",
        "design 4: a hint that emit sent finds nothing to claim",
        (_CLAIM, "AND l.due_at <= {now} AND l.look_at IS NOT NULL", "AND l.look_at <= {now}"),
        by=("outbox/test_claim.py", "outbox/test_emit_hints.py"),
        on="postgres",
    ),
    mutant(
        "due_at taken for look_at by the relay",
        "design 4: a row is hinted again at each turn",
        ("outbox/relay.py", "filter(look_at__lte=DbNow())\n", "filter(due_at__lte=DbNow())\n"),
        by=("sweeps/test_relay.py::test_a_marked_row_is_not_hinted_again_in_its_grace",),
    ),
    mutant(
        "due_at taken for look_at by the relay (PostgreSQL)",
        "design 4: a row is hinted again at each turn",
        ("outbox/relay.py", "AND look_at <= {now}\n", "AND due_at <= {now}\n"),
        by=("sweeps/test_relay.py::test_a_marked_row_is_not_hinted_again_in_its_grace",),
        on="postgres",
    ),
    mutant(
        "no COMMIT before the subject is read",
        "P3: a migration that holds the project's table for longer than a lease undoes a completion",
        ("outbox/one_trip.py", "*updates, _COMMIT, *reads", "*updates, *reads, _COMMIT"),
        by=("outbox/test_one_trip.py::test_a_locked_table_of_the_project_keeps_no_completion",),
        on="postgres",
    ),
    mutant(
        "no FOR UPDATE at the claim",
        "R2: two workers claim one row",
        (_CLAIM, "ORDER BY id FOR UPDATE SKIP LOCKED", "ORDER BY id"),
        by=("outbox/test_claim.py::test_what_another_is_claiming_is_passed_over", _ONE_CLAIMS),
        on="postgres",
    ),
    mutant(
        "no SKIP LOCKED at the claim",
        "R5: a worker waits for whoever holds a row",
        (_CLAIM, "ORDER BY id FOR UPDATE SKIP LOCKED", "ORDER BY id FOR UPDATE"),
        by=("outbox/test_claim.py::test_what_another_is_claiming_is_passed_over",),
        on="postgres",
    ),
    mutant(
        "the attempt is not counted at the claim (PostgreSQL)",
        "R3: a killed worker costs nothing, for ever",
        (_CLAIM, "attempts = d.attempts + (l.state = {State.PENDING})::int,", ""),
        by=(_COUNTED,),
        on="postgres",
    ),
    mutant(
        "the attempt is not counted at the claim",
        "R3: a killed worker costs nothing, for ever",
        (_PORTABLE, 'attempts=F("attempts") + int(state == State.PENDING),', ""),
        by=(_COUNTED,),
    ),
    mutant(
        "a question is counted as an attempt",
        "R3: to verify spends what was left for running",
        (_PORTABLE, 'F("attempts") + int(state == State.PENDING)', 'F("attempts") + 1'),
        by=("outbox/test_claim.py::test_a_claim_to_verify_spends_no_attempt",),
    ),
)  # fmt: skip

RUN: tuple[Mutant, ...] = (
    mutant(
        "a group gives no attempt back",
        "design 4: what was released without running has fewer attempts",
        (_FINISH, 'look_at=DbNow(),\n            attempts=F("attempts") - 1,',
         "look_at=DbNow(),"),
        by=("outbox/test_groups.py::test_what_a_group_has_no_time_for_is_released_and_handed_on",),
    ),
    mutant(
        "a group releases what it has lost",
        "P6: a release goes over a newer run",
        (_FINISH, "return rows.filter(claim_token__in={c.token for c in group})", "return rows"),
        by=(
            "outbox/test_groups.py::test_a_group_releases_only_what_it_still_holds",
            "outbox/test_groups.py::test_a_group_completes_only_what_it_still_holds",
        ),
    ),
    mutant(
        "what may not be repeated joins a group",
        "P3: a death of one runs the others once more",
        ("outbox/deliver.py", "elif row.effect and row.effect.harmless_to_repeat:",
         "elif row.effect:"),
        by=("outbox/test_groups.py::test_one_that_may_not_be_repeated_is_never_grouped",),
    ),
    mutant(
        "a killer joins others",
        "P7: its next death convicts innocents",
        ("outbox/deliver.py", "if row.alone:\n                line", "if False:\n                line"),
        by=("outbox/test_groups.py::test_what_must_be_alone_is_never_grouped",),
    ),
    mutant(
        "the debt is not asked for again under its lock",
        "P9: what is promised while it is being skipped is lost",
        (_FINISH, "if rows.select_for_update().exists() and needed():", "if False:"),
        by=("outbox/test_promised_meanwhile.py",),
    ),
    mutant(
        "the debt is asked for again without its lock",
        "P9: what commits between question and answer is lost",
        (_FINISH, "rows.select_for_update().exists() and", "rows.exists() and"),
        by=(("outbox/test_promised_meanwhile.py::"
            "test_a_skip_waits_for_a_promise_that_is_about_to_commit"),),
        on="postgres",
    ),
    mutant(
        "what cannot be read is skipped",
        "P7: a payload that nobody can read ends as if all were well",
        (
            "outbox/run.py",
            "return Refused(Reason.UNREADABLE, error, begun=False)",
            "return Skipped(Reason.NOT_NEEDED)",
        ),
        by=("outbox/test_unknown.py::test_a_payload_of_another_shape_burns_no_attempts",),
    ),
    mutant(
        "an unanswered question counts as no",
        "P3: what may have happened is done again",
        ("outbox/run.py", "return Unsure(error) if claimed.verifying else Failed(error)",
         "return DidNotHappen() if claimed.verifying else Failed(error)"),
        by=("outbox/test_verify.py::test_a_subject_that_cannot_be_loaded_is_no_answer",),
    ),
    mutant(
        "the owed query is not asked before a run",
        "P9: what was settled by hand meanwhile is done again",
        ("outbox/run.py", "if effect.owed_query is not None and not", "if False and not"),
        by=("outbox/test_run_outcomes.py::test_what_is_not_owed_any_more_is_skipped",),
    ),
    mutant(
        "a snooze begins no new round",
        "design 4: what the next run emits is taken for what the last one did",
        (_FINISH, "Notes.ROUND: noted(claimed.notes, Notes.ROUND) + 1,",
         "Notes.ROUND: noted(claimed.notes, Notes.ROUND),"),
        by=("outbox/test_emit_in_effects.py::test_a_snoozed_run_emits_anew",),
    ),
    mutant(
        "spent attempts run once more, and again",
        "P7: a killer that cannot be convicted goes on for ever",
        ("outbox/run.py", "if claimed.attempt > claimed.effect.max_attempts and", "if False and"),
        by=("outbox/test_run_outcomes.py", "sweeps/test_rescue.py"),
    ),
)  # fmt: skip
