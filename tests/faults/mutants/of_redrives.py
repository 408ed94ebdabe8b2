"""Guards of redrives of many: frozen, released once, in bounded steps, and never by looking."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_HERE = "console/redriving/"
_TESTS = "console/redriving/"
_STEPS, _RELEASING, _GATHERING = (
    f"{_HERE}{name}.py" for name in ("steps", "releasing", "gathering")
)
_HELD = "console/test_held.py"

REDRIVES: tuple[Mutant, ...] = (
    mutant(
        "two steps of one operation are taken at once",
        "R2: two sweepers write down and release the same, and a pause is written over",
        (
            _STEPS,
            'free = mine.select_for_update(skip_locked=True).values_list("pk", flat=True)',
            'free = mine.values_list("pk", flat=True)',
        ),
        (_STEPS, 'if not free or mine.update(turn=F("turn") + 1) != 1:', "if not free:"),
        by=(f"{_TESTS}test_together.py::test_two_sweepers_never_take_one_step_twice",),
        on="postgres",
    ),
    mutant(
        "a step waits for an operation that somebody holds",
        "R5: one frozen sweeper stops the relays of the whole fleet",
        (
            _STEPS,
            'free = mine.select_for_update(skip_locked=True).values_list("pk", flat=True)',
            'free = mine.select_for_update().values_list("pk", flat=True)',
        ),
        by=(f"{_HELD}::test_an_operation_that_somebody_holds_is_left_for_the_next_turn",),
        on="postgres",
    ),
    mutant(
        "a release waits for a delivery that somebody holds",
        "R5, R7: one forgotten transaction stops an operation, and the relay behind it",
        (
            _RELEASING,
            "set(rows.select_for_update(skip_locked=True).values_list",
            "set(rows.select_for_update().values_list",
        ),
        by=(f"{_HELD}::test_a_delivery_that_somebody_holds_is_released_later_and_the_others_now",),
        on="postgres",
    ),
    mutant(
        "what failed after it was asked for is taken along",
        "R14: more is done than the person has seen",
        (
            _GATHERING,
            "return rows.filter(Q(finished_at__lte=asked_at) | uncertain)",
            "return rows",
        ),
        by=(f"{_TESTS}test_steps.py::test_what_fails_after_it_was_asked_for_is_not_taken",),
    ),
    mutant(
        "a release does not look again",
        "R15: what a person has cancelled since is run all the same",
        (
            _RELEASING,
            "rows = frozen(remedy.of(str(using), ids), operation.created_at).filter(state__in=states)",
            "rows = remedy.of(str(using), ids)",
        ),
        by=(f"{_TESTS}test_steps.py::test_what_a_person_cancels_meanwhile_stays_cancelled",),
    ),
    mutant(
        "what is released and that it is are written apart",
        "P3: a killed sweeper redrives the same again, which may have run meanwhile",
        (
            _STEPS,
            "    with transaction.atomic(using=using):\n        # Locks the row",
            "    if True:\n        # Locks the row",
        ),
        (
            _STEPS,
            'free = mine.select_for_update(skip_locked=True).values_list("pk", flat=True)',
            'free = mine.values_list("pk", flat=True)',
        ),
        by=(
            f"{_TESTS}test_together.py::test_an_error_between_the_release_and_the_commit_takes_both_back",
        ),
    ),
    mutant(
        "a row that the database refuses takes the others along",
        "R7: one bad row stops a redrive of thousands",
        (
            "outbox/remedy.py",
            "        if len(rows) > 1:\n            each_alone",
            "        if False:\n            each_alone",
        ),
        by=(f"{_TESTS}test_together.py::test_one_bad_row_stays_behind_alone",),
    ),
    mutant(
        "an operation that fails stops the others",
        "R7: one damaged row, and nothing is redriven any more",
        (
            _STEPS,
            "        swept.truncated = True\n        return False",
            "        raise",
        ),
        by=(f"{_TESTS}test_together.py::test_an_operation_that_fails_never_stops_the_others",),
    ),
    mutant(
        "what fails does not halt it",
        "a cause that is not mended is met by forty thousand",
        (_STEPS, "        case ramp.Halt():", "        case ramp.Halt() if False:"),
        by=(f"{_TESTS}test_steps.py::test_it_halts_by_itself_when_too_many_fail_and_says_which",),
    ),
    mutant(
        "instants ahead are believed",
        "a clock that was put back by a day stops it for a day",
        (
            f"{_HERE}ramp.py",
            "return now - _saved_up(rate) if paid_until > furthest else paid_until",
            "return paid_until",
        ),
        by=(f"{_TESTS}test_steps.py::test_a_clock_that_was_put_back_stops_nothing",),
    ),
    mutant(
        "a preview may write",
        "R14: to look changes something",
        (
            f"{_HERE}reading.py",
            '_tell(connection, "SET TRANSACTION READ ONLY")\n                _tell(connection, f"SET LOCAL',
            '_tell(connection, f"SET LOCAL',
        ),
        by=(f"{_TESTS}test_preview.py::test_a_guard_that_writes_is_refused_and_told_of",),
        on="postgres",
    ),
    mutant(
        "a preview reads as long as a guard likes",
        "R5: one page holds a connection for ever",
        (
            f"{_HERE}reading.py",
            '_tell(connection, f"SET LOCAL statement_timeout = {_milliseconds(patience)}")',
            "pass",
        ),
        by=(f"{_TESTS}test_preview.py::test_a_query_that_never_ends_is_ended",),
        on="postgres",
    ),
    mutant(
        "an error of a guard is shown to everybody",
        "P10: what a payload holds is read by who may only redrive",
        (
            f"{_HERE}preview.py",
            'said = f": {describe(error)}" if told.tells_errors else ""',
            'said = f": {describe(error)}"',
        ),
        by=(f"{_TESTS}test_admin.py::test_errors_of_guards_are_for_those_who_may_see_attempts",),
    ),
)
