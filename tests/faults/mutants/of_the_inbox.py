"""Guards of the inbox: each message once, and what is newer stays."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_CLAIMING, _INSERT = "inbox/claiming.py", "inbox/insert.py"

INBOX: tuple[Mutant, ...] = (
    mutant(
        "a claim is written outside the caller's transaction",
        "work without its row: the next delivery does it again",
        (_CLAIMING, "if not in_open_transaction(connection):", "if False:"),
        by=("inbox/test_claim.py::test_outside_a_transaction_a_claim_is_refused",),
    ),
    mutant(
        "a message that is being handled is taken for a duplicate",
        "the first rolls back, the second was acknowledged: lost",
        (
            _CLAIMING,
            "    if stored is None:\n        raise InTheWay",
            '    if stored is None:\n        return ""',
        ),
        by=("inbox/test_races.py::test_whoever_comes_while_it_is_handled_is_told_to_come_again",),
        on="postgres",
    ),
    mutant(
        "a claim waits for another transaction",
        "two that take the same messages crosswise deadlock",
        (_INSERT, " WHERE pg_try_advisory_xact_lock(%s)", " WHERE %s IS NOT NULL"),
        by=("inbox/test_races.py::test_two_that_take_two_messages_crosswise_do_not_deadlock",),
        on="postgres",
    ),
    mutant(
        "ids are compared as they are shown",
        "long ids with one beginning and one end are one message: the second is lost",
        (
            _CLAIMING,
            "key=message_key(consumer, named),",
            "key=message_key(consumer, sanitise(named, _SHOWN)),",
        ),
        by=("inbox/test_claim.py::test_long_ids_that_differ_in_the_middle_are_two",),
    ),
    mutant(
        "payloads are not compared",
        "a second message under a used id vanishes without a word",
        (_CLAIMING, "if payload is not None and is_another(payload, stored):", "if False:"),
        by=("inbox/test_claim.py::test_the_same_id_with_another_payload_is_an_alarm",),
    ),
    mutant(
        "a conflict is raised inside the transaction",
        "the mark is rolled back with it, and nobody is alerted",
        (
            "inbox/consuming.py",
            "                if found:\n",
            (
                "                if found is Claim.CONFLICTED:\n"
                "                    raise MessageConflicted(consumer, id_text(message))\n"
                "                if found:\n"
            ),
        ),
        by=("inbox/test_consume.py::test_another_payload_is_refused_and_the_mark_stays",),
    ),
    mutant(
        "what is as new is written again",
        "a late message overwrites a newer one",
        ("inbox/versions.py", '__lt": version}) | none_yet', '__gte": 0}) | none_yet'),
        by=("inbox/test_versions.py::test_the_newest_stays_in_whatever_order_they_come",),
    ),
    mutant(
        "rows go before their time",
        "a message that comes after weeks is handled again",
        (
            "inbox/prune.py",
            "received_at__lte=DbNow() - settings().inbox_retention",
            "received_at__lte=DbNow()",
        ),
        by=("inbox/test_prune.py::test_a_month_is_kept",),
    ),
)
