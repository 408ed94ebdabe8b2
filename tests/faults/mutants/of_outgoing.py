"""Guards of the way out: what may have happened is not sent blindly, and is known to be in doubt."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_LEDGER, _CLASSIFY = "outgoing/ledger.py", "outgoing/classify.py"
_SEND, _REQUESTS = "outgoing/send.py", "outgoing/with_requests.py"
_SENDS, _REFUSED = "outgoing/test_send.py::", "outgoing/test_refused.py::"
_DOUBT, _ANEW = "outgoing/test_doubt.py::", "outgoing/test_anew.py::"
_LOSS = "outgoing/test_loss.py::"

OUTGOING: tuple[Mutant, ...] = (
    mutant(
        "send without the claim",
        "P6: a zombie sends what another worker is sending",
        (_LEDGER, "filter(pk=claimed.id, claim_token=claimed.token)", "filter(pk=claimed.id)"),
        by=(_REFUSED + "test_who_has_lost_the_lease_sends_nothing",),
    ),
    mutant(
        "conclude without the send's token",
        "P6: who was overtaken says what became of a later send",
        (_LEDGER, "filter(pk=begun.pk, send_token=begun.token)", "filter(pk=begun.pk)"),
        by=(_REFUSED + "test_who_was_overtaken_cannot_write_what_it_learnt",),
    ),
    mutant(
        "take what is on its way for not sent",
        "P3: a worker that dies after the send leaves a row that says it was not sent",
        (_LEDGER, "else Known.UNKNOWN  # until", "else Known.NOT_SENT  # until"),
        by=(_LOSS + "test_a_worker_killed_between_send_and_answer_leaves_the_truth",),
    ),
    mutant(
        "send another request under a key",
        "semantics 2.1: a key stands for one request",
        (_LEDGER, "or row.request_hash == wish.request_hash", "or wish.request_hash"),
        by=(_SENDS + "test_another_request_under_the_same_key_is_never_sent",),
    ),
    mutant(
        "send after the window",
        "semantics 2.2: the partner has forgotten the key, and charges again",
        (_LEDGER, "    if not may_have_happened(before):\n        return\n", "    return\n"),
        by=(_DOUBT + "test_it_is_sent_again_until_a_tenth_of_the_window_is_left",),
    ),
    mutant(
        "send blindly after a total loss",
        "P9: what was sent before our rows were lost is sent again past the window",
        (_LEDGER, "            _refuse_what_was_forgotten(wish, now)\n", ""),
        by=(_LOSS + "test_after_a_total_loss_the_window_counts_from_the_debt",),
    ),
    mutant(
        "send inside a transaction",
        "rule 4: locks wait for a partner, and what was sent can be rolled back",
        (
            _SEND,
            "if in_open_transaction(connection) or _is_managed_by_hand(connection):",
            "if False:",
        ),
        by=(_REFUSED + "test_nothing_is_sent_inside_a_transaction",),
    ),
    mutant(
        "believe a refusal of the second request",
        "semantics 2.3: a 4xx to a replay says nothing of the first send",
        (_CLASSIFY, "replay=may_have_happened(before), keyed", "replay=False, keyed"),
        by=("outgoing/test_table.py::test_what_a_second_send_shows_of_the_first",),
    ),
    mutant(
        "keep the client's retries",
        "semantics 2.4: the library's retries multiply ours",
        (_REQUESTS, "twin.max_retries = Retry(0, read=False)", "pass"),
        by=(_SENDS + "test_the_clients_own_retries_and_redirects_are_off_for_this_call",),
    ),
    mutant(
        "skip what is in doubt",
        "semantics 2.3: a charge that may stand ends in silence",
        ("outbox/run.py", "if not evidence.is_in_doubt(claimed):", "if True:"),
        by=(_DOUBT + "test_what_is_left_in_doubt_does_not_end_in_silence",),
    ),
    mutant(
        "start anything anew",
        "design 4: what happened happens a second time under a new key",
        (
            "outbox/remedy.py",
            "allowed = None if did_not_happen else surely_did_not_happen",
            "allowed = None",
        ),
        by=(_ANEW + "test_what_may_have_happened_is_not_started_anew",),
    ),
    mutant(
        "keep a finding over a run",
        "design 4: what was found absent may have happened since",
        ("outbox/run.py", "changes[Notes.ABSENT] = None  # from now on it may happen", "pass"),
        by=(_ANEW + "test_what_ran_since_it_was_found_absent_is_not",),
    ),
)
