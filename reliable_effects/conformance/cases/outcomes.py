"""I25 to I29: which results are kept."""

from __future__ import annotations

from ..case import Trial, case


@case("I25", "profile", "an error of the client is replayed", "profile/4xx-replayed")
def client_error(t: Trial) -> None:
    key = t.key()
    first = t.post("/status/404", key)
    t.expect_status("the request", first, 404)
    t.expect("body", first.body, b"status:404")
    t.expect_replay(t.post("/status/404", key), first)
    t.expect_runs(1)


@case("I26", "profile", "an error of the server is not kept", "profile/5xx-not-stored")
def server_error(t: Trial) -> None:
    key = t.key()
    for what in ("the request", "the retry"):
        answer = t.post("/status/500", key)
        t.expect_status(what, answer, 500)
        t.expect_unmarked(answer, what)
    t.expect_runs(2)


@case("I27", "profile", "an error of the server is kept where that was asked for")
def kept_server_error(t: Trial) -> None:
    key = t.key()
    first = t.post("/kept/500", key)
    t.expect_status("the request", first, 500)
    t.expect_replay(t.post("/kept/500", key), first)
    t.expect_runs(1)


@case("I28", "profile", "what was refused for now may succeed later")
def refused_for_now(t: Trial) -> None:
    for code in (401, 429):
        t.control("/reset")
        key = t.key()
        t.expect_status("the request", t.post(f"/first/{code}", key), code)
        t.expect_status(f"the retry after {code}", t.post(f"/first/{code}", key), 201)
        t.expect_runs(2)


@case("I29", "hole", "what raises leaves nothing, and may be tried again")
def raises(t: Trial) -> None:
    t.remember_rows()
    t.expect_status("a handler that raises", t.post("/raise", t.key()), 500)
    t.expect_rows(0)
    t.control("/reset")
    key = t.key()
    t.expect_status("one that raises once", t.post("/raise-once", key), 500)
    t.expect_rows(0)
    retry = t.post("/raise-once", key)
    t.expect_status("the retry", retry, 201)
    t.expect_unmarked(retry, "the retry")
    t.expect_rows(1)
