"""Guards of emit and dispatch, of the sweeps, of what people do, and of the clock."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_RESCUE, _RELAY, _PRUNE = "outbox/rescue.py", "outbox/relay.py", "outbox/prune.py"
_RETENTION = "outbox/retention.py"
_DISPATCH, _PUBLISHER = "outbox/dispatch.py", "outbox/publisher.py"
_ON_POSTGRESQL, _PORTABLE = "outbox/emit_postgresql.py", "outbox/emit_portable.py"

EMIT: tuple[Mutant, ...] = (
    mutant(
        "no ON CONFLICT for events (PostgreSQL)",
        "design 4: the second run of an effect that emits fails",
        (_ON_POSTGRESQL, '"ON CONFLICT (id) DO NOTHING" if may_stand', '"" if may_stand'),
        by=("outbox/test_emit_in_effects.py::test_a_repeated_run_repeats_no_event",),
        on="postgres",
    ),
    mutant(
        "no ON CONFLICT for events",
        "design 4: the second run of an effect that emits fails",
        (_PORTABLE, "ignore_conflicts=batch.may_stand", "ignore_conflicts=False"),
        by=("outbox/test_emit_in_effects.py::test_a_repeated_run_repeats_no_event",),
    ),
    mutant(
        "a zombie's effect emits (PostgreSQL)",
        "P6: events of a run that was taken away",
        (_ON_POSTGRESQL, '["EXISTS (SELECT FROM parent)"] if in_run', "[] if in_run"),
        (_ON_POSTGRESQL, "if parent and not any(", "if False and not any("),
        by=("outbox/test_emit_in_effects.py::test_a_zombie_emits_nothing",),
        on="postgres",
    ),
    mutant(
        "a zombie's effect emits",
        "P6: events of a run that was taken away",
        (_PORTABLE, "if parent and not deliveries", "if False and not deliveries"),
        by=("outbox/test_emit_in_effects.py::test_a_zombie_emits_nothing",),
    ),
    mutant(
        "a debt that was begun is promised over",
        "design 4: what runs, or has acted, begins again",
        (_PORTABLE, "if not (never_begun or ended_without_acting):", "if False:"),
        by=("outbox/test_emit_again.py",),
    ),
    mutant(
        "a begun debt moves to the newer event (PostgreSQL)",
        "design 4: a run that may have acted is taken for one that has not",
        (_ON_POSTGRESQL, "old.state = {State.PENDING} AND old.flags & {Flag.BEGUN} = 0",
         "old.state = {State.PENDING}"),
        by=("outbox/test_emit_again.py",),
        on="postgres",
    ),
    mutant(
        "rows in the order of the code",
        "two calls that promise the same debts deadlock",
        ("outbox/emit.py", "for key in sorted(rows)]", "for key in rows]"),
        by=("outbox/test_emit.py::test_deliveries_of_one_call_are_written_in_key_order",),
    ),
    mutant(
        "emit outside a transaction",
        "P2: a row that no rollback takes back",
        ("outbox/emit.py", "if not in_open_transaction(connection):", "if False:"),
        by=("outbox/test_emit.py::test_emitting_outside_a_transaction_is_refused",),
    ),
    mutant(
        "the hook outlives its savepoint",
        "design 6: after a rolled back savepoint no hint goes out",
        (
            _DISPATCH,
            "    return HintAfterCommit(connection.alias)\n",
            ("    kept = getattr(connection, 'kept_hook', None) or HintAfterCommit(connection.alias)\n"
            "    connection.kept_hook = kept\n"
            "    return kept\n"),
        ),
        by=("outbox/test_emit_hints.py::test_an_emit_after_a_rolled_back_savepoint_is_hinted",),
    ),
    mutant(
        "a hint inside the transaction",
        "R1: a worker is called for what may yet be rolled back",
        (
            _DISPATCH,
            "self._ids.setdefault(queue, []).append(delivery_id)",
            "self._ids.setdefault(queue, []).append(delivery_id); self()",
        ),
        by=("outbox/test_emit_hints.py",),
    ),
    mutant(
        "the breaker never closes",
        "P5: after one outage this process sends no hint again",
        (_PUBLISHER, "            self.breaker.close()\n", "            pass\n"),
        by=(("dispatch/test_publisher.py::"
            "test_the_breaker_closes_when_a_hint_gets_through_again"),),
    ),
    mutant(
        "the breaker never opens",
        "P5: each request waits for a dead broker",
        (_PUBLISHER, "        if not was_open:\n            logger.warning(",
         "        self._rests_until = None\n        if not was_open:\n            logger.warning("),
        by=("dispatch/test_publisher.py::test_while_the_breaker_is_open_nobody_waits",),
    ),
    mutant(
        "nobody notices that the line stands still",
        "P5: rows wait for hints that a hung broker never gets",
        (_PUBLISHER, "if is_stuck and not", "if False and not"),
        by=(("dispatch/test_publisher.py::"
            "test_a_broker_that_hangs_is_noticed_though_nobody_waits"),),
    ),
    mutant(
        "a process ends without its last hints",
        "what a management command promised is found a grace later",
        (_PUBLISHER, "atexit.register(self._leave)", "pass"),
        by=(("dispatch/test_publisher.py::"
            "test_what_was_handed_over_goes_out_before_the_process_ends"),),
    ),
)  # fmt: skip

SWEEPS: tuple[Mutant, ...] = (
    mutant(
        "rescue without the lease",
        "P3: who lives and beats is run a second time",
        (_RESCUE, "claim_token=row.claim_token, lease_expires_at__lte=DbNow()\n",
         "claim_token=row.claim_token\n"),
        by=("sweeps/test_rescue.py::test_a_heartbeat_that_comes_in_between_wins",),
    ),
    mutant(
        "rescue without the token",
        "P6: the rescue of an older run is written over a newer one",
        (_RESCUE, "pk=row.pk, claim_token=row.claim_token, lease", "pk=row.pk, lease"),
        by=("sweeps/test_rescue.py::test_a_rescue_of_an_older_run_leaves_the_newer_alone",),
    ),
    mutant(
        "rescue waits for who holds a row",
        "R7: one that is held keeps all others waiting",
        (_RESCUE, "expired.select_for_update(skip_locked=True)", "expired.select_for_update()"),
        by=("sweeps/test_rescue.py::test_a_row_that_somebody_holds_keeps_no_other_waiting",),
        on="postgres",
    ),
    mutant(
        "not alone after a death",
        "P7: the next death convicts innocents",
        (_RESCUE, "& ~(Flag.GROUP | Flag.VERIFYING) | Flag.ALONE", "& ~(Flag.GROUP | Flag.VERIFYING)"),
        by=("sweeps/test_rescue.py::test_a_lost_worker_s_delivery_is_due_at_once_and_alone",),
    ),
    mutant(
        "a dead group pays",
        "design 4: whoever was in the group has an attempt less",
        (_RESCUE, "        given_back = 1\n", "        given_back = 0\n"),
        by=(("sweeps/test_rescue.py::"
            "test_a_group_that_died_spends_no_attempts_and_goes_on_one_by_one"),),
    ),
    mutant(
        "forgiven again and again",
        "P7: a killer that waits for the fleet to be away is never convicted",
        (_RESCUE, "elif forgive and not row.flags & Flag.FORGIVEN:", "elif forgive:"),
        by=("sweeps/test_rescue.py::test_nothing_is_forgiven_twice",),
    ),
    mutant(
        "a killer is never convicted",
        "P7: it takes workers with it for ever",
        (_RESCUE, "killer = noted(notes, Notes.KILLS) >= settings().max_kills", "killer = False"),
        by=("sweeps/test_rescue.py::test_who_kills_again_and_again_is_set_aside",),
    ),
    mutant(
        "a lost run that could be asked about runs again",
        "design 4: what may have happened is done again, unasked",
        (_RESCUE, "if verifying or row.flags & Flag.VERIFIABLE:", "if verifying:"),
        by=("sweeps/test_rescue.py::test_a_lost_run_that_can_be_verified_is_asked_about_first",),
    ),
    mutant(
        "a rescue without a bound",
        "R7: the relay waits for it",
        (_RESCUE, "if monotonic() > bound:", "if False:"),
        by=(("sweeps/test_rescue.py::"
            "test_a_sweep_that_is_cut_short_says_so_and_goes_on_where_it_was"),),
    ),
    mutant(
        "a relay without a bound",
        "design 4: a dead worker's queue gets a million hints",
        (_RELAY, "    most = settings().relay_outstanding\n", "    most = 10**9\n"),
        by=("sweeps/test_relay.py::test_no_more_is_outstanding_than_the_budget",),
    ),
    mutant(
        "two relays at once",
        "R2: each row is hinted by both",
        (_RELAY, "waiting.select_for_update(skip_locked=True).values_list(",
         "waiting.values_list("),
        by=("sweeps/test_relay.py::test_what_another_relay_is_taking_is_passed_over",),
        on="postgres",
    ),
    mutant(
        "what was not sent is not put back",
        "P1: it waits for its grace, again and again while the broker refuses",
        (_RELAY, "dispatch.put_back(using, [pk for unsent in hints[place:] for pk in unsent])", "pass"),
        by=("sweeps/test_relay.py::test_a_refused_hint_leaves_its_rows_as_they_were",),
    ),
    mutant(
        "the mark is believed for ever",
        "P1: what commits late lies below it and is never found",
        ("outbox/low_water.py", "mark is not None and monotonic() < mark.until", "mark is not None"),
        by=(("sweeps/test_relay.py::"
            "test_a_row_put_in_below_the_mark_is_found_within_half_a_minute"),),
    ),
    mutant(
        "prune without the owed query",
        "R9: what proves that a debt was settled is deleted",
        (_PRUNE, "free += rows if owed is None else _not_owing(using, owed, rows)", "free += rows"),
        by=("sweeps/test_prune.py::test_what_is_still_owed_stays",),
    ),
    mutant(
        "prune what was promised again",
        "P1: a debt that was reopened meanwhile is deleted",
        (_PRUNE, "for pk, finished_at in now if finished_at == ended[pk]}",
         "for pk, finished_at in now}"),
        by=("sweeps/test_prune.py::test_what_is_promised_again_meanwhile_stays",),
    ),
    mutant(
        "prune whatever is old",
        "R9: a poison pill is deleted by age",
        (_PRUNE, "ended = rows.filter(state__in=ENDED_WELL)", "ended = rows"),
        (_RETENTION, ("state in ENDED_WELL and (state is not State.SKIPPED or reason =="
         " Reason.NOT_NEEDED)"), "True"),
        by=("sweeps/test_prune.py::test_what_did_not_end_well_stays_whatever_its_age",),
    ),
    mutant(
        "an effect's span is of its poison, too",
        "P7: a pill is deleted by a span that was meant for what succeeded",
        (_RETENTION, "            if ended_well:\n                return said\n            continue\n",
         "            return said\n"),
        by=("sweeps/test_retention.py::test_a_span_of_an_effect_is_of_what_ended_well",),
    ),
    mutant(
        "what a person gave up has an age where it may be owed",
        "R15: reconcile promises again what a person cancelled",
        (_RETENTION, "if state is State.CANCELLED and effect.owed_query is not None:", "if False:"),
        by=("sweeps/test_prune.py::test_what_a_person_gave_up_stays_where_it_could_be_found_owed",),
    ),
    mutant(
        "forget what must still run",
        "P1: what is owed cannot be carried out any more",
        ("outbox/forget.py", "elif mine is None or now in _UNFINISHED:", "elif mine is None:"),
        by=(("outbox/test_forget.py::"
            "test_what_must_still_run_keeps_its_payload_and_is_named"),),
    ),
    mutant(
        "a blanked payload is read",
        "an effect runs with nothing, and says so to a person",
        ("outbox/forget.py", "payload=MARK, version=BLANKED, trace_id",
         "payload=MARK, trace_id"),
        by=("outbox/test_forget.py::test_what_is_redriven_all_the_same_ends_visibly",),
    ),
    mutant(
        "an event goes with its first delivery",
        "P1: what is left of the event cannot be read",
        (_PRUNE, "pk__in=list(event_ids), deliveries=None)", "pk__in=list(event_ids))"),
        by=("sweeps/test_prune.py::test_an_event_with_a_delivery_left_stays",),
    ),
    mutant(
        "an unknown name is set aside while it runs",
        "P6: a worker of another release is overwritten",
        ("outbox/unknown.py", ("pk=row.id, state=row.state, claim_token=None, due_at__lte=DbNow(),"
         " look_at__isnull=False\n"), "pk=row.id\n"),
        by=("outbox/test_states.py::test_an_unknown_name_is_poisoned_only_while_it_waits",),
    ),
    mutant(
        "pills come back by themselves",
        "P7: what a person must look at runs again with each sweep",
        ("outbox/unknown.py", "pills.filter(reason=Reason.UNKNOWN_EFFECT, effect__in",
         "pills.filter(effect__in"),
        ("outbox/unknown.py",
         "filter(state=State.POISONED, reason=Reason.UNKNOWN_EFFECT)\n    known",
         "filter(state=State.POISONED)\n    known"),
        by=("sweeps/test_rescue.py::test_what_is_poisoned_for_another_reason_stays",),
    ),
)  # fmt: skip

PEOPLE_AND_CLOCK: tuple[Mutant, ...] = (
    mutant(
        "redrive what runs",
        "P6: a person's click takes a run from its worker",
        ("outbox/states.py", "_REOPENED_BY_CODE = (State.RUNNING, State.SUCCEEDED)",
         "_REOPENED_BY_CODE = (State.SUCCEEDED,)"),
        ("outbox/remedy.py", "filter(state=state, claim_token=None)", "filter(state=state)"),
        ("outbox/remedy.py", '"state": State.PENDING,\n',
         '"state": State.PENDING, "claim_token": None, "lease_expires_at": None,\n'),
        by=("outbox/test_remedy.py", "outbox/test_states.py"),
    ),
    mutant(
        "cancel what runs",
        "P6: it is called given up while a worker does it",
        ("outbox/states.py", "if State.CANCELLED in MOVES[s])",
         "if State.CANCELLED in MOVES[s] or s is State.RUNNING)"),
        ("outbox/remedy.py", "filter(state=state, claim_token=None)", "filter(state=state)"),
        ("outbox/remedy.py", '"state": State.CANCELLED,\n',
         '"state": State.CANCELLED, "claim_token": None, "lease_expires_at": None,\n'),
        by=("outbox/test_remedy.py", "outbox/test_states.py"),
    ),
    mutant(
        "redrive what was claimed in between",
        "R2: it is read, decided, and written unguarded",
        ("outbox/remedy.py", "filter(state=state, claim_token=None)", "all()"),
        ("outbox/remedy.py", '"state": State.PENDING,\n',
         '"state": State.PENDING, "claim_token": None, "lease_expires_at": None,\n'),
        by=("outbox/test_remedy.py::test_a_row_that_is_claimed_in_between_is_refused",),
    ),
    mutant(
        "an edit that is lost is taken for none",
        "P6: what a person has rejected runs as it was",
        ("outbox/payloads.py", "    if edit is None:\n        return None\n",
         "    if edit is None:\n        return Payload(event.payload, event.version)\n"),
        by=("outbox/test_edits.py::test_an_edit_whose_row_is_gone_makes_the_delivery_unreadable",),
    ),
    mutant(
        "an edited payload goes under the key that partners know",
        "design 4: a partner gets another body under the key of the first",
        ("outbox/edits.py", "return Terms(anew=True,", "return Terms(anew=False,"),
        by=("outbox/test_edits.py",),
    ),
    mutant(
        "a redrive forgets the edit",
        "P6: what a person has rejected runs as it was",
        ("outbox/remedy.py", "edits = () if edit is None else", "edits = () if True else"),
        by=("outbox/test_edits.py::test_an_edit_outlives_a_later_redrive",),
    ),
    mutant(
        "a form is confirmed twice",
        "a double click starts a delivery anew twice",
        ("outbox/edits.py", "(shown and stamp(found) != shown)", "False"),
        by=("outbox/test_edits.py::test_the_same_form_sent_twice_edits_once",),
    ),
    mutant(
        "a transaction's clock",
        "R8: in a long transaction the past is compared with",
        ("clock.py", 'return f"(statement_timestamp(){moved})"', 'return f"(now(){moved})"'),
        by=("test_clock.py::test_the_clock_goes_on_within_a_transaction",),
        on="postgres",
    ),
    mutant(
        "the worker's clock",
        "R8: a worker whose clock is an hour ahead takes every lease",
        (
            "clock.py",
            "    connection = connections[using]\n    with connection.cursor() as cursor:\n",
            ("    return datetime.now(UTC)\n    connection = connections[using]\n"
            "    with connection.cursor() as cursor:\n"),
        ),
        by=("test_clock.py",),
    ),
    mutant(
        "the server's zone",
        "R8: a server in another zone is hours off",
        ("clock.py", 'return f"(UTC_TIMESTAMP(6){moved})"', 'return f"(NOW(6){moved})"'),
        by=("test_clock.py::test_a_mariadb_session_in_another_zone_has_the_same_clock",),
        on="mariadb",
    ),
)  # fmt: skip
