"""Guards of the groups of failures: what is counted once, and what is kept of nobody."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_HERE = "console/groups/"
_TEST = "console/groups/test_grouping.py"
_GROUPING, _COUNTING = f"{_HERE}grouping.py", f"{_HERE}counting.py"

GROUPS: tuple[Mutant, ...] = (
    mutant(
        "a pill that was redriven is written as if it were one",
        "what runs again is counted among what waits for a person",
        (_GROUPING, "if (pill.id, pill.ended_at) in same]", "]"),
        by=(f"{_TEST}::test_a_pill_that_is_redriven_while_it_is_read_gets_no_fingerprint",),
    ),
    mutant(
        "the sweep waits for a pill that somebody holds",
        "one open transaction stops the relay, which waits in the same thread",
        (
            _GROUPING,
            'held = rows.select_for_update(skip_locked=True).order_by("pk")',
            'held = rows.select_for_update().order_by("pk")',
        ),
        by=(f"{_TEST}::test_a_pill_that_somebody_holds_is_left_for_the_next_turn",),
        on="postgres",
    ),
    mutant(
        "the sweep waits for a group that somebody holds",
        "R5: an admin's open request stops the relay, which waits in the same thread",
        (
            _GROUPING,
            "free = rows.select_for_update(skip_locked=True)",
            "free = rows.select_for_update()",
        ),
        by=(
            "console/test_held.py::test_a_group_that_somebody_holds_keeps_no_other_pill_from_its_group",
        ),
        on="postgres",
    ),
    mutant(
        "a count is written over a newer one",
        "a group with a pill shows none",
        (_COUNTING, "filter(pk=group.pk, total=group.total)", "filter(pk=group.pk)"),
        by=(f"{_TEST}::test_a_count_that_is_older_than_a_new_pill_is_not_written",),
    ),
    mutant(
        "what old workers poison brings a group back",
        "after each deploy everything that was fixed is there again",
        (
            f"{_HERE}coming_back.py",
            "return not release or release == fixed_in or release not in seen",
            "return True",
        ),
        by=(
            "console/groups/test_coming_back.py::test_what_old_workers_still_poison_brings_nothing_back",
        ),
    ),
    mutant(
        "who is forgotten stays in a sample",
        "an erasure that is certified, and a name in the admin",
        (
            f"{_HERE}erase.py",
            '            of_them.filter(pk__in=groups).update(sample_delivery_id=None, sample_message="")',
            "            pass",
        ),
        by=("console/groups/test_samples.py::test_who_is_forgotten_is_in_no_sample",),
    ),
    mutant(
        "a group's text is guessed by a filter in the address",
        "P10: who may not read errors reads them letter by letter",
        (
            f"{_HERE}admin.py",
            "return lookup in {shown.parameter_name for shown in self.list_filter}",
            "return True",
        ),
        by=("console/groups/test_pages.py::test_nobody_guesses_a_text_letter_by_letter",),
    ),
)
