"""I38 to I40: bodies that are not text, not small, or not there yet."""

from __future__ import annotations

from ..case import NOT_PUBLIC, Trial, case
from ..client import Answer

_CAP = 1024 * 1024  # bytes that are kept, of the public vectors and by default here


@case("I38", "hole", "bytes stay bytes")
def binary(t: Trial) -> None:
    key = t.key()
    first = t.post("/binary", key)
    t.expect_status("the request", first, 200)
    t.expect_that("its body", b"\x00\xff" in first.body, "bytes", repr(first.body[:40]))
    t.expect_replay(t.post("/binary", key), first)
    t.expect_runs(1)


@case(
    "I39",
    "profile",
    "above the cap the retry gets status and headers, and nothing runs twice",
    "profile/omitted-body-replay",
)
def large(t: Trial) -> None:
    target = f"/large?bytes={_CAP + 1}"
    key = t.key()
    first = t.post(target, key)
    t.expect_status("the request", first, 200)
    t.expect("bytes of the request", len(first.body), _CAP + 1)
    _expect_omitted(t, t.post(target, key), first)


@case("I40", "profile", "a stream does not run twice")
def stream(t: Trial) -> None:
    key = t.key()
    first = t.post("/stream", key)
    t.expect_status("the request", first, 200)
    t.expect_that("its body", len(first.body) > 0, "some bytes", repr(first.body[:40]))
    retry = t.post("/stream", key)
    if retry.body == first.body:  # who keeps streams does more than we ask
        t.expect_replay(retry, first)
        t.expect_runs(1)
    else:
        _expect_omitted(t, retry, first)


def _expect_omitted(t: Trial, retry: Answer, first: Answer) -> None:
    t.expect_status("the retry", retry, first.status)
    t.expect("Content-Type of the retry", retry.content_type, first.content_type, vector=NOT_PUBLIC)
    t.expect("bytes of the retry", len(retry.body), 0)
    t.expect("Idempotency-Replay", retry.header("Idempotency-Replay"), "omitted")
    t.expect("Idempotency-Replayed", retry.header("Idempotency-Replayed"), "true")
    t.expect_runs(1)
