"""I21 to I24: while the first is still under way."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from threading import Barrier

from ..case import NOT_PUBLIC, Trial, case, problem_code
from ..client import Answer

_SLEEPS = (1500, 3000, 6000)  # milliseconds: the public vectors' own, and more for a slow machine
_MANY = 20


@dataclass(frozen=True)
class Pair:
    """Two requests under one key, the second sent while the first was in its handler."""

    original: Answer
    duplicate: Answer
    slept: int  # milliseconds


def _pair(t: Trial, body: bytes = b'"payload-a"') -> Pair:
    """
    The second with *body*.

    An answer that came when the first was over tells a server that makes duplicates wait from a
    machine that is too slow only by what a longer sleep brings.
    """
    for slept in _SLEEPS:
        t.control("/reset")
        key, target = t.key(), f"/slow?ms={slept}"
        with t.under_way(partial(t.post, target, key)) as original:
            duplicate = t.post(target, key, body)
            was_in_time = not original.done()
        found = Pair(original.result(), duplicate, slept)
        if was_in_time or duplicate.status != 200:
            break
    return found


@case("I21", "core", "a duplicate of what is under way is a conflict", "core/concurrent-409")
def conflict(t: Trial) -> None:
    pair = _pair(t)
    t.expect_status("the duplicate", pair.duplicate, 409)
    t.expect_status("the original", pair.original, 200)
    t.expect("body of the original", pair.original.body, f"slept:{pair.slept}".encode())
    t.expect_runs(1)


@case("I22", "profile", "a conflict says when to come back", "profile/retry-after-on-409")
def retry_after(t: Trial) -> None:
    duplicate = _pair(t).duplicate
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
    pair = _pair(t, b'"payload-b"')
    t.expect_status("another body", pair.duplicate, 422)
    t.expect_status("the original", pair.original, 200)
    t.expect_runs(1)
