"""I34 to I37: whose key it is, and what is no one's to see."""

from __future__ import annotations

from ..case import Trial, case

_SECRETS = ("session-secret", "bearer-secret", "token-secret", "4111111111111111")


def _log_in(t: Trial, user: str) -> str:
    """The Cookie header of a new session."""
    return t.control(f"/login?user={user}").cookies


@case("I34", "hole", "another person's key is another key")
def two_people(t: Trial) -> None:
    key = t.key()
    anna, bert = _log_in(t, "anna"), _log_in(t, "bert")
    hers = t.post("/secret", key, cookies=anna)
    t.expect_status("Anna's request", hers, 200)
    t.expect("Anna's secret", b"anna" in hers.body, True)
    his = t.post("/secret", key, cookies=bert)
    t.expect_status("Bert's request", his, 200)
    t.expect("Bert's secret", b"bert" in his.body, True)
    t.expect("Anna's secret in Bert's answer", b"anna" in his.body, False)
    t.expect_runs(2)


@case("I35", "hole", "who may no longer see it gets no replay")
def no_longer_allowed(t: Trial) -> None:
    key = t.key()
    carl = _log_in(t, "carl")
    t.expect_status("Carl's request", t.post("/secret", key, cookies=carl), 200)
    t.control("/revoke?user=carl")
    later = t.post("/secret", key, cookies=carl)
    t.expect_status("the retry without the permission", later, 403)
    t.expect("his secret in it", b"carl" in later.body, False)


@case("I36", "profile", "nobody has no keys, unless that was asked for")
def anonymous(t: Trial) -> None:
    answer = t.post("/members", t.key())
    t.expect_problem(answer, 401, "identity-required", "a request of nobody")
    t.expect_runs(0)


@case("I37", "hole", "cookies and credentials are neither replayed nor stored")
def credentials(t: Trial) -> None:
    key, body = t.key(), b'{"card": "4111111111111111"}'
    first = t.post("/cookie", key, body, content_type="application/json")
    t.expect_status("the request", first, 200)
    t.expect("Set-Cookie of the request", "session-secret" in first.cookies, True)
    retry = t.post("/cookie", key, body, content_type="application/json")
    t.expect_replay(retry, first)
    for name in ("Set-Cookie", "Authorization", "X-Api-Token"):
        t.expect(f"{name} of the replay", retry.header(name), None)
    stored = t.client.send("GET", "/store").body.decode(errors="replace")
    t.expect_that("the store", bool(stored), "something", "nothing")
    for secret in (*_SECRETS, key):
        t.expect(f"{secret} in the store", secret in stored, False)
