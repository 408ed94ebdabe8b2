"""Guards of what is counted for the overview, and of a pause from its page."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_COUNTING = "console/rollups/counting.py"
_TEST = "console/rollups/test_counting.py"
_HELD = "console/test_held.py"

ROLLUPS: tuple[Mutant, ...] = (
    mutant(
        "who counts holds no lock",
        "two sweeps at once count the same twice",
        (
            _COUNTING,
            "return cursors.select_for_update(skip_locked=True).first()",
            "return cursors.first()",
        ),
        by=("console/rollups/test_at_once.py::test_sweeps_at_once_count_each_thing_once",),
        on="postgres",
    ),
    mutant(
        "who counts waits for who counts already",
        "R5: a sweeper that is frozen while it counts stops the relays of the whole fleet",
        (
            _COUNTING,
            "return cursors.select_for_update(skip_locked=True).first()",
            "return cursors.select_for_update().first()",
        ),
        by=(f"{_HELD}::test_where_somebody_holds_the_cursor_nothing_is_counted_this_time",),
        on="postgres",
    ),
    mutant(
        "a slice and the place after it are written apart",
        "a killed sweeper counts a slice twice",
        (
            _COUNTING,
            "            with transaction.atomic(using=using):\n                cursor = locked(using)",
            "            if True:\n                cursor = RollupCursor.objects.using(using).get()",
        ),
        by=(f"{_TEST}::test_a_kill_in_the_middle_loses_and_doubles_nothing",),
    ),
    mutant(
        "the end of a pause waits for a row that somebody holds",
        "R5: a page hangs on a transaction that was forgotten",
        (
            "outbox/pausing.py",
            "mine = unlocked(rows, pks[:left])",
            "mine = pks[:left]",
        ),
        by=(f"{_HELD}::test_a_resumed_effect_comes_back_without_what_somebody_holds",),
        on="postgres",
    ),
    mutant(
        "prune waits for a group that somebody holds",
        "R5: an admin's open request stops what is pruned, and the relay behind it",
        ("console/groups/erase.py", "select_for_update(nowait=True)", "select_for_update()"),
        by=(f"{_HELD}::test_a_group_that_somebody_holds_keeps_nobody_from_pruning_the_others",),
        on="postgres",
    ),
)
