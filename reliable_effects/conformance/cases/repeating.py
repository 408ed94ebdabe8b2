"""I01 to I07: once, again, and without a key."""

from __future__ import annotations

from ..case import NOT_PUBLIC, REPLAY_MARKS, Trial, case, marks, problem, problem_code


@case("I01", "core", "a first request runs, and is not called a replay", "core/post-executes-once")
def first(t: Trial) -> None:
    answer = t.post("/echo", t.key())
    t.expect_status("the request", answer, 201)
    t.expect("body", answer.body, b'"payload-a"')
    t.expect_runs(1)
    t.expect_unmarked(answer, "the request")


@case("I02", "core", "the same again is answered with the same bytes", "core/retry-replays")
def again(t: Trial) -> None:
    key = t.key()
    answer = t.post("/echo", key, b'{"a": 1}', content_type="application/json")
    t.expect_status("the request", answer, 201)
    retry = t.post("/echo", key, b'{"a": 1}', content_type="application/json")
    t.expect_replay(retry, answer)
    t.expect_runs(1)


@case("I03", "profile", "a replay is marked as one", "profile/replayed-header")
def marked(t: Trial) -> None:
    key = t.key()
    t.post("/echo", key)
    retry = t.post("/echo", key)
    # The public vector asks for the second one alone.
    ours, public = REPLAY_MARKS
    t.expect(public, retry.header(public), "true", vector="profile/replayed-header")
    t.expect(ours, retry.header(ours), "true", vector=NOT_PUBLIC)


@case("I04", "core", "two keys are two requests", "core/two-keys-execute-twice")
def two_keys(t: Trial) -> None:
    t.expect_status("the first", t.post("/echo", t.key()), 201)
    t.expect_status("the second", t.post("/echo", t.key()), 201)
    t.expect_runs(2)


@case("I05", "core", "where a key is required, none is an error", "core/key-missing-required")
def required(t: Trial) -> None:
    answer = t.post("/echo")
    t.expect_status("a request without a key", answer, 400)
    t.expect_runs(0)
    leads = 'rel="describedby"' in (answer.header("Link") or "") or "type" in problem(answer)
    t.expect_that(
        "the way to the documentation",
        leads,
        "a Link header or a problem's type",
        repr(answer.body[:120]),
        vector=NOT_PUBLIC,  # the public vector leaves this out
    )


@case(
    "I06",
    "profile",
    "errors are problem documents",
    "profile/problem-content-type",
    "profile/problem-code-member",
)
def problem_document(t: Trial) -> None:
    missing = t.post("/echo")
    key = t.key()
    t.post("/echo", key)
    changed = t.post("/echo", key, b'"payload-b"')
    for what, answer, status, code in (
        ("no key", missing, 400, "missing-key"),
        ("another body", changed, 422, "fingerprint-mismatch"),
    ):
        t.expect_status(what, answer, status)
        media_type = answer.content_type.partition(";")[0].strip()
        t.expect(
            f"media type of {what}",
            media_type,
            "application/problem+json",
            vector="profile/problem-content-type",
        )
        # The public vector asks for a string, whichever; the words are our own.
        t.expect_that(
            f"code member of {what}",
            bool(problem_code(answer)),
            "a string",
            repr(answer.body[:120]),
            vector="profile/problem-code-member",
        )
        t.expect(f"code of {what}", problem_code(answer), code, vector=NOT_PUBLIC)
        uri = str(problem(answer).get("type", ""))
        t.expect_that(f"type of {what}", ":" in uri, "a URI", repr(uri), vector=NOT_PUBLIC)
        t.expect(
            f"Cache-Control of {what}",
            answer.header("Cache-Control"),
            "no-store",
            vector=NOT_PUBLIC,
        )


@case("I07", "profile", "where a key is optional, none means no protection")
def optional(t: Trial) -> None:
    for what in ("the first", "the second"):
        answer = t.post("/optional")
        t.expect_status(what, answer, 201)
        t.expect(f"replay marks of {what}", marks(answer), ())
    t.expect_runs(2)
