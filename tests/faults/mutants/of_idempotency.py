"""Guards of idempotent requests: one run, one answer, and nobody else's."""

from __future__ import annotations

from tests.faults.mutants.mutant import Mutant, mutant

_CLAIM, _FINISH = "idempotency/claim.py", "idempotency/finish.py"
_EXECUTION, _DECORATOR = "idempotency/execution.py", "idempotency/decorator.py"
_DIGESTS, _IDENTITY = "idempotency/digests.py", "idempotency/identity.py"

_OUTLIVED = "idempotency/test_races.py::test_a_view_that_outlives_its_lease_is_rolled_back"

IDEMPOTENCY: tuple[Mutant, ...] = (
    mutant(
        "an idempotent request completes without its token",
        "P6: a view whose key was taken over commits its rows and overwrites the other's answer",
        (_FINISH, "rows.filter(pk=claimed.id, token=claimed.token)", "rows.filter(pk=claimed.id)"),
        (_FINISH, ".filter(state__in=_OPEN)", ""),
        by=(_OUTLIVED,),
        on="postgres",
    ),
    mutant(
        "whether a completion won is not asked",
        "P6: the rows of a view that was taken over are committed beside the other's",
        (_EXECUTION, "if not complete(self._claimed, answer):", "if complete(self._claimed, answer) is None:"),
        by=(_OUTLIVED,),
        on="postgres",
    ),
    mutant(
        "the request under a key is not compared",
        "P10: one order's payment is the answer to another's",
        (_CLAIM, "if not is_request(request.material, row.fingerprint):", "if False:"),
        by=("idempotency/test_replaying.py::test_another_body_under_the_key_is_refused_and_spoils_nothing",),
    ),
    mutant(
        "a key is everybody's",
        "P10: a user is given another's answer",
        (_IDENTITY, "scope = of_parts(operation, *parts)", "scope = of_parts(operation)"),
        by=("idempotency/test_whose.py::test_another_users_request_under_the_same_key_is_another",),
    ),
    mutant(
        "clients that nobody knows share their keys unasked",
        "P10: whoever guesses a key gets a stranger's answer",
        (_IDENTITY, '("anonymous",) if options.anonymous else None', '("anonymous",)'),
        by=("idempotency/test_whose.py::test_keys_of_nobody_are_refused",),
    ),
    mutant(
        "parts are hashed without their lengths",
        "P10: the end of one part is taken for the beginning of the next",
        (_DIGESTS, 'self._sha.update(len(raw).to_bytes(8, "big"))', "pass"),
        by=("idempotency/test_whose.py::test_what_is_hashed_together_stays_apart",),
    ),
    mutant(
        "a new secret forgets the keys under the old one",
        "a request that was carried out is carried out again",
        (_DIGESTS, "[project.SECRET_KEY, *project.SECRET_KEY_FALLBACKS]", "[project.SECRET_KEY]"),
        by=("idempotency/test_whose.py::test_a_new_secret_forgets_no_key_and_refuses_none",),
    ),
    mutant(
        "of two records under two secrets both run",
        "during a rollout of a new secret a request is carried out twice",
        (_CLAIM, "if mine is not None and standing:", "if False:"),
        by=("idempotency/test_whose.py::test_of_two_records_under_two_secrets_none_runs_twice",),
    ),
    mutant(
        "a view that calls others is taken over",
        "a card is charged twice, since nobody saw how the first call ended",
        (_CLAIM, "case _ if row.foreign:", "case _ if False:"),
        by=("idempotency/test_uncertain.py::test_one_that_was_killed_is_uncertain_once_its_lease_ends",),
    ),
    mutant(
        "a view that failed after it called is released",
        "a card is charged twice, since the exception is taken for nothing done",
        (_EXECUTION, "if self._handle.is_sent:", "if False:"),
        by=("idempotency/test_uncertain.py::test_a_view_that_fails_after_it_called_is_never_run_again",),
    ),
    mutant(
        "a server's error that is kept commits what was written",
        "P2: rows of a request that failed",
        (_EXECUTION, "return is_ours or (", "return ("),
        by=("idempotency/test_replaying.py::test_server_errors_are_kept_where_the_view_says_so",),
    ),
    mutant(
        "a key is free again when its answer is gone",
        "a request that was carried out is carried out again after a day",
        (_CLAIM, "in_utc(row.expires_at) <= _now(row)", "in_utc(row.body_expires_at or row.expires_at) <= _now(row)"),
        by=("idempotency/test_aging.py::test_an_answer_goes_before_its_key",),
    ),
    mutant(
        "Django's own transaction stays around the view",
        "the key is claimed in what may be rolled back, and seen by nobody meanwhile",
        (_DECORATOR, "setattr(view, _MARK, {*marked, using})", "pass"),
        by=("idempotency/test_transactions.py::test_djangos_transaction_is_kept_away",),
    ),
    mutant(
        "a key is claimed inside of any transaction",
        "as above, where somebody's atomic() is around the view",
        ("idempotency/begin.py", "if in_open_transaction(connections[using]):", "if False:"),
        by=("idempotency/test_transactions.py::test_a_transaction_around_the_view_is_an_error",),
    ),
)  # fmt: skip
