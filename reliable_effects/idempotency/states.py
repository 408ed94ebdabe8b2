"""Where an idempotency key stands."""

from __future__ import annotations

from django.db import models


class RecordState(models.IntegerChoices):
    """
    IN_PROGRESS → DONE | RELEASED | UNCERTAIN, and back to IN_PROGRESS where a request takes it over.

    A request may take over what is RELEASED, what is DONE and past its retention, and what is
    IN_PROGRESS past its lease where the view calls nobody else. UNCERTAIN waits for a person, or
    for the view's `resolve=`; the first request may still come back and say how it ended.
    """

    IN_PROGRESS = 1, "in progress"
    DONE = 2, "done"
    RELEASED = 3, "released"  # nothing was done: the next request runs
    UNCERTAIN = 4, "uncertain"  # another system was called, and its answer never seen
