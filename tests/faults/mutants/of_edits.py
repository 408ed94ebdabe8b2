"""Guards of edited payloads: what was sent once keeps its key to itself, and nothing is guessed."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_EDITS, _PAYLOADS = "outbox/edits.py", "outbox/payloads.py"
_TEST = "outbox/test_edits.py"

EDITS: tuple[Mutant, ...] = (
    mutant(
        "another payload goes under a key that was used",
        "P3: a partner that knows the key answers for the old payload",
        (_EDITS, "    if event is not None and _never_ran(row, event):", "    if True:"),
        by=(
            f"{_TEST}::test_what_may_have_been_sent_is_edited_only_on_a_persons_word_and_under_a_new_key",
        ),
    ),
    mutant(
        "what reconcile made up passes for never sent",
        "P9: the partner has known the key since before our row was lost",
        (_EDITS, "if event.source == _MADE_UP or row.state == State.UNCERTAIN:", "if False:"),
        by=(f"{_TEST}::test_what_was_found_to_be_owed_may_have_been_sent_before_our_row_was_lost",),
    ),
    mutant(
        "nobody has to say that it did not happen",
        "a new key for what has happened is a second charge",
        (_EDITS, "    if terms.needs_word and not did_not_happen:", "    if False:"),
        by=(
            f"{_TEST}::test_what_may_have_been_sent_is_edited_only_on_a_persons_word_and_under_a_new_key",
        ),
    ),
    mutant(
        "a worker that has claimed it is written over",
        "P6: the payload changes under a run",
        (
            _EDITS,
            "filter(pk=row.pk, claim_token=None, state__in=EDITABLE)",
            "filter(pk=row.pk)",
        ),
        (_EDITS, "(shown and stamp(found) != shown)", "False"),
        by=(f"{_TEST}::test_of_a_claim_and_an_edit_the_claim_may_win_and_the_edit_is_refused",),
    ),
    mutant(
        "two edits of one page are both made",
        "the second takes away what the first has corrected",
        (_EDITS, "(shown and stamp(found) != shown)", "False"),
        by=(
            f"{_TEST}::test_the_same_form_sent_twice_edits_once",
            f"{_TEST}::test_what_changed_since_it_was_shown_is_left_alone",
        ),
    ),
    mutant(
        "an edit that is gone passes for none",
        "what a person has rejected is run",
        (
            _PAYLOADS,
            "    if edit is None:\n        return None",
            "    if edit is None:\n        return Payload(event.payload, event.version)",
        ),
        by=(f"{_TEST}::test_an_edit_whose_row_is_gone_makes_the_delivery_unreadable",),
    ),
    mutant(
        "an edit follows its delivery to another event",
        "a newer order is sent with the payload of an older one",
        (_PAYLOADS, "    if edit.event_id != event.pk:", "    if False:"),
        by=(f"{_TEST}::test_a_debt_that_moved_to_a_newer_event_runs_with_that_ones_payload",),
    ),
    mutant(
        "a later redrive forgets the edit",
        "what a person has corrected runs as it was",
        (
            "outbox/remedy.py",
            "edits = () if edit is None else ((Notes.EDIT, edit),)",
            "edits: tuple[tuple[str, int], ...] = ()",
        ),
        by=(f"{_TEST}::test_an_edit_outlives_a_later_redrive",),
    ),
    mutant(
        "what was forgotten is written again",
        "an erasure that is certified, and undone by a form",
        (_EDITS, "    if event.version <= BLANKED:", "    if False:"),
        by=(f"{_TEST}::test_where_nobody_can_check_a_payload_none_is_written",),
    ),
    mutant(
        "edits are kept when their subject is forgotten",
        "P10: an erasure that leaves what people have typed",
        ("outbox/forget.py", "share.edits = _blank_edits(wish, [row.pk for row in ended])", "pass"),
        by=(f"{_TEST}::test_edits_are_forgotten_with_their_subject",),
    ),
    mutant(
        "an edit needs no permission but to look",
        "R14: a remedy needs a permission of its own",
        (
            "console/timeline/editing.py",
            "return request.user.has_perm(EDITS) and request.user.has_perm(SEES_EVENTS)",
            "return True",
        ),
        by=(
            "console/timeline/test_editing.py::test_it_needs_its_own_permission_and_that_to_see_payloads",
        ),
    ),
)
