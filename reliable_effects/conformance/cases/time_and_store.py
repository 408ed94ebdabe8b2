"""I41 and I42: keys that age, and a store that is away."""

from __future__ import annotations

import time

from ..case import NOT_PUBLIC, Trial, case, marks, problem_code
from ..client import NotOffered

_TTL = 2.0  # seconds that /brief remembers keys, and /forgetful answers
_TRIES = 3  # on a machine that is so slow that the retry comes too late
_EXPIRY = "core/expiry-executes-again"


@case("I41", "core", "a key is forgotten in its time, and never half", _EXPIRY)
def expiry(t: Trial) -> None:
    path, ttl = ("/echo", t.options.ttl) if t.options.ttl else ("/brief", _TTL)
    key = t.key()
    begun = _replayed_in_time(t, path, key, ttl)
    t.control("/reset")
    _sleep_until(begun + ttl + 0.5)
    later = t.until_settled(lambda: t.post(path, key))
    t.expect_status("the same key after its time", later, 201, vector=_EXPIRY)
    t.expect("its replay marks", marks(later), (), vector=_EXPIRY)
    t.expect_runs(1, vector=_EXPIRY)

    key = t.key()
    t.expect_status("the request", t.post("/forgetful", key), 201, vector=NOT_PUBLIC)
    begun = time.monotonic()
    t.control("/reset")
    _sleep_until(begun + _TTL + 0.5)
    later = t.post("/forgetful", key)
    t.expect("status when the answer is gone", later.status, 409, vector=NOT_PUBLIC)
    t.expect(
        "code when the answer is gone", problem_code(later), "result-expired", vector=NOT_PUBLIC
    )
    t.expect_runs(0, vector=NOT_PUBLIC)


def _replayed_in_time(t: Trial, path: str, key: str, ttl: float) -> float:
    """When the first answer had come, where its replay came in time too."""
    for _ in range(_TRIES):
        begun = time.monotonic()
        first = t.post(path, key)
        answered = time.monotonic()
        retry = t.post(path, key)
        if time.monotonic() - begun < ttl:
            break
        _sleep_until(answered + ttl + 0.5)
        t.control("/reset")
    t.expect_status("the request", first, 201, vector=_EXPIRY)
    t.expect_replay(retry, first, "the retry in time", vector=NOT_PUBLIC)
    return answered


def _sleep_until(instant: float) -> None:
    time.sleep(max(0.0, instant - time.monotonic()))


@case("I42", "profile", "without its store nothing runs unprotected")
def store_down(t: Trial) -> None:
    if not t.options.store_down:
        raise NotOffered("a server without its store (--store-down URL)")
    away = Trial(type(t.client)(t.options.store_down, t.client.timeout), t.options, checks=t.checks)
    before = away.count()
    answer = away.post("/echo", away.key())
    t.expect_problem(answer, 503, "store-unavailable", "a request while the store is away")
    seconds = answer.header("Retry-After") or ""
    t.expect_that("Retry-After", seconds.isdigit(), "whole seconds", repr(seconds))
    t.expect("runs of the handler", away.count() - before, 0)
