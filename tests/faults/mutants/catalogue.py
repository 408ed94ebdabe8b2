"""All mutants."""

from __future__ import annotations

from tests.faults.mutants import (
    of_edits,
    of_groups,
    of_idempotency,
    of_jobs,
    of_outgoing,
    of_reconcile,
    of_redrives,
    of_rollups,
    of_the_inbox,
    of_the_rest,
    of_the_watch,
    of_workers,
)

MUTANTS = (
    *of_workers.FENCE,
    *of_workers.CLAIM,
    *of_workers.RUN,
    *of_the_rest.EMIT,
    *of_the_rest.SWEEPS,
    *of_reconcile.RECONCILE,
    *of_the_rest.PEOPLE_AND_CLOCK,
    *of_jobs.JOBS,
    *of_the_inbox.INBOX,
    *of_outgoing.OUTGOING,
    *of_idempotency.IDEMPOTENCY,
    *of_the_watch.WATCH,
    *of_groups.GROUPS,
    *of_redrives.REDRIVES,
    *of_edits.EDITS,
    *of_rollups.ROLLUPS,
)
