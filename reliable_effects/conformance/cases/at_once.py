"""I21 to I24: while the first is still under way."""

from __future__ import annotations

import re
from collections.abc import Callable
from threading import Barrier

from ..case import NOT_PUBLIC, Trial, case, problem_code
from ..client import Answer

_SLOW = "/slow?ms=1500"
_MANY = 20


@case("I21", "core", "a duplicate of what is under way is a conflict", "core/concurrent-409")
def conflict(t: Trial) -> None:
    key = t.key()
    with t.under_way(lambda: t.post(_SLOW, key)) as original:
        duplicate = t.post(_SLOW, key)
    t.expect_status("the duplicate", duplicate, 409)
    t.expect_status("the original", original.result(), 200)
    t.expect("body of the original", original.result().body, b"slept:1500")
    t.expect_runs(1)


@case("I22", "profile", "a conflict says when to come back", "profile/retry-after-on-409")
def retry_after(t: Trial) -> None:
    key = t.key()
    with t.under_way(lambda: t.post(_SLOW, key)):
        duplicate = t.post(_SLOW, key)
    t.expect_status("the duplicate", duplicate, 409)
    seconds = duplicate.header("Retry-After") or ""
    is_number = re.fullmatch(r"[1-9][0-9]*", seconds) is not None
    t.expect_that("Retry-After", is_number, "whole seconds, at least 1", repr(seconds))
    t.expect("code", problem_code(duplicate), "conflict", vector=NOT_PUBLIC)


@case("I23", "hole", "of twenty at once, one runs")
def twenty(t: Trial) -> None:
    key, ready = t.key(), Barrier(_MANY)

    def call() -> Answer:
        ready.wait(t.client.timeout)
        return t.post("/slow?ms=100", key)

    answers = t.at_once(*[call] * _MANY)
    statuses = sorted({answer.status for answer in answers})
    # Who did not run may be told the answer or to come back; whether replays are marked is I03's.
    is_fine = statuses in ([200], [200, 409])
    t.expect_that("statuses of the answers", is_fine, "200, the others 200 or 409", str(statuses))
    t.expect_runs(1)


@case("I24", "profile", "another body is refused while the first is under way too")
def other_body_meanwhile(t: Trial) -> None:
    key = t.key()
    original: Callable[[], Answer] = lambda: t.post(_SLOW, key)  # noqa: E731  # read as one line
    with t.under_way(original) as first:
        t.expect_status("another body", t.post(_SLOW, key, b'"payload-b"'), 422)
    t.expect_status("the original", first.result(), 200)
    t.expect_runs(1)
