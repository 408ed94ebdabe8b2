"""Guards of scheduled jobs: one event each, in time or not at all."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_JOBS, _TICK = "schedule/jobs.py", "schedule/tick.py"

JOBS: tuple[Mutant, ...] = (
    mutant(
        "a job's event has an id of its own each time",
        "a restore of one of both tables makes two events of a job",
        (_TICK, "once=[one.once for one in group]", "once=None"),
        by=("schedule/test_tick.py::test_a_restore_of_one_of_both_tables_makes_no_second_event",),
    ),
    mutant(
        "a tick does not count what it ended",
        "two ticks at once: an event for a job that another has cancelled",
        (_TICK, "if rows.update(**table.ended(state)) != len(jobs):",
         "if rows.update(**table.ended(state)) < 0:"),
        (_TICK, "jobs += rows.select_for_update(skip_locked=True)[:limit]", "jobs += rows[:limit]"),
        by=("schedule/test_tick.py::test_of_a_call_and_a_tick_at_once_exactly_one_wins",),
        on="postgres",
    ),
    mutant(
        "late jobs run all the same",
        "what is of no use any more is done",
        (_TICK, "elif late is not None and now - at > late and table.knows(job):", "elif False:"),
        by=("schedule/test_tick.py::test_later_than_it_may_be_a_job_is_missed_and_said",),
    ),
    mutant(
        "a due job's wall is not looked at",
        "a zone's rules changed within the last hour, and the job is an hour early",
        (_TICK, "at = resolved(job)", "at = in_utc(job.at)"),
        by=("schedule/test_tick.py::test_what_turns_out_to_be_later_is_not_emitted_yet",),
    ),
    mutant(
        "one bad job takes its batch with it",
        "R7: one bad row stops the sweep for the others",
        (_TICK, "done = sum(_alone(using, table, job) for job in jobs)", "done = 0"),
        by=("schedule/test_tick.py::test_a_job_whose_event_cannot_be_written_is_blocked_alone",),
    ),
    mutant(
        "a repeated run schedules anew",
        "P3: an effect that is run again owes what it has scheduled twice",
        (_JOBS, "new_event_id() if run is None else", "new_event_id() if True else"),
        by=("schedule/test_scheduling.py::test_a_repeated_run_of_an_effect_schedules_nothing_twice",),
    ),
    mutant(
        "a zombie's effect schedules",
        "P6: jobs of a run that was taken away",
        (_JOBS, "    if not deliveries.filter(pk=run.delivery_id, claim_token=run.token).exists():",
         "    if not deliveries.filter(pk=run.delivery_id).exists():"),
        by=("schedule/test_scheduling.py::test_a_worker_whose_lease_is_over_schedules_nothing",),
    ),
    mutant(
        "a row is deleted before its deliveries have ended",
        "P1: what a delivery is about is gone when it runs",
        ("schedule/forget.py", "if str(job.pk) not in needed]", "]"),
        by=("schedule/test_typed.py::test_a_row_whose_delivery_is_set_aside_is_kept",),
    ),
)  # fmt: skip
