"""I30 to I33: workers that are killed, leases that end, calls whose outcome nobody knows."""

from __future__ import annotations

from ..case import Trial, case, marks, problem_code


@case("I30", "profile", "killed before the commit: nothing is left, the retry runs", is_alone=True)
def before_commit(t: Trial) -> None:
    key = t.key()
    t.remember_rows()
    t.control("/arm?crash=before-commit")
    t.lose("/db", key)
    t.expect_rows(0)
    retry = t.until_settled(lambda: t.post("/db", key))
    t.expect_status("the retry, after the lease", retry, 201)
    t.expect_unmarked(retry, "the retry")
    t.expect_rows(1)
    t.expect_runs(2)


@case("I31", "profile", "killed after the commit: the retry gets the answer", is_alone=True)
def after_commit(t: Trial) -> None:
    key = t.key()
    t.remember_rows()
    t.control("/arm?crash=after-commit")
    t.lose("/db", key)
    retry = t.until_settled(lambda: t.post("/db", key))
    t.expect_status("the retry", retry, 201)
    t.expect_rows(1)
    t.expect_runs(1)


@case("I32", "profile", "who outlives the lease and was replaced commits nothing")
def outlived(t: Trial) -> None:
    """
    The handler of /outlive sleeps 2.5 s under a lease of 1 s, then writes.

    A store that lets one transaction write at a time keeps the second out until the first is over:
    then the first ends well and the second replays it.
    """
    key = t.key()
    t.remember_rows()
    with t.under_way(lambda: t.post("/outlive", key)) as first:
        second = t.until_settled(lambda: t.post("/outlive", key))
    ended = [first.result(), second]
    done = [a for a in ended if a.status == 201 and not marks(a)]
    t.expect("runs that were answered with 201", len(done), 1)
    t.expect_that(
        "the other one",
        all(a.status in (409, 500, 503) or marks(a) for a in ended if a not in done),
        "409, 500, 503 or a replay",
        str([a.status for a in ended]),
    )
    t.expect_rows(1)


@case("I33", "profile", "sent and never heard of again: nobody sends it twice", is_alone=True)
def unknown(t: Trial) -> None:
    for crash in ("after-send", "raise-after-send"):
        t.control("/reset")
        t.control(f"/arm?crash={crash}")
        key = t.key()
        if crash == "after-send":
            t.lose("/foreign", key)
        else:
            t.expect_status("a handler that raises", t.post("/foreign", key), 500)
        for what in (f"the retry, {crash}", f"one more, {crash}"):
            retry = t.until_settled(lambda key=key: t.post("/foreign", key))  # type: ignore[misc]
            t.expect_problem(retry, 409, "outcome-unknown", what)
        t.expect_runs(1)
    t.control("/reset")
    key = t.key()
    first = t.post("/foreign", key)
    t.expect_status("one that ends well", first, 201)
    t.expect_replay(t.post("/foreign", key), first)
    t.expect("code of one that ends well", problem_code(first), "")
    t.expect_runs(1)
