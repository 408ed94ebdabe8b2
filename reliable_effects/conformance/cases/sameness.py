"""I15 to I20: which requests are the same, and what comes when they are not."""

from __future__ import annotations

from collections.abc import Callable

from ..case import Trial, case, marks
from ..client import Answer


@case("I15", "core", "a key on GET is ignored", "core/get-ignored")
def get(t: Trial) -> None:
    headers = t.headers(t.key())
    before = t.client.send("GET", "/counter", headers=headers)
    t.expect_status("a POST between", t.post("/echo", t.key()), 201)
    after = t.client.send("GET", "/counter", headers=headers)
    t.expect_status("the first GET", before, 200)
    t.expect_status("the second GET", after, 200)
    t.expect_that(
        "the second GET", before.body != after.body, "the new count", repr(after.body[:80])
    )


@case("I16", "core", "a key with another body is refused", "core/mismatch-422")
def other_body(t: Trial) -> None:
    key = t.key()
    t.expect_status("the request", t.post("/echo", key), 201)
    t.expect_status("another body", t.post("/echo", key, b'"payload-b"'), 422)
    t.expect_runs(1)


@case("I17", "core", "a refused body spoils nothing", "core/mismatch-does-not-poison")
def unspoiled(t: Trial) -> None:
    key = t.key()
    first = t.post("/echo", key)
    t.expect_status("the request", first, 201)
    t.expect_status("another body", t.post("/echo", key, b'"payload-b"'), 422)
    t.expect_replay(t.post("/echo", key), first)
    t.expect_runs(1)


@case("I18", "profile", "a key never answers another operation")
def other_operation(t: Trial) -> None:
    key = t.key()
    t.expect_status("the request", t.post("/echo", key), 201)
    _refused_or_run(t, "another query", lambda: t.post("/echo?x=1", key))
    _refused_or_run(t, "another path", lambda: t.post("/status/202", key))
    put = t.client.exchange("PUT", "/echo", b'"payload-a"', t.headers(key, t.options.media_type))
    t.expect("replay marks of another method", marks(put), ())
    t.expect_that(
        "another method", put.status != 201 or t.count() >= 2, "no stored answer", str(put.status)
    )


def _refused_or_run(t: Trial, what: str, call: Callable[[], Answer]) -> None:
    """Refused, or a key of its own for each operation: then the other one runs, and says its own."""
    before = t.count()
    answer = call()
    ran = t.count() - before
    is_fine = (answer.status in (409, 422) and not ran) or (ran == 1 and not marks(answer))
    came = f"{answer.status}, {ran} runs, {marks(answer)}"
    t.expect_that(what, is_fine, "422 (409 will do), or a run of its own", came)


@case("I19", "profile", "other white space is another body, unless JSON is compared")
def white_space(t: Trial) -> None:
    one, other = b'{"a": 1, "b": [2]}', b'{"b":[2],"a":1}'
    for path, status, runs in (("/echo", 422, 1), ("/json", 201, 2)):
        key = t.key()
        first = t.post(path, key, one, content_type="application/json")
        t.expect_status(f"the request to {path}", first, 201)
        retry = t.post(path, key, other, content_type="application/json")
        t.expect_status(f"the same JSON to {path}", retry, status)
        t.expect_runs(runs)
        if path == "/json":
            t.expect_replay(retry, first)
            changed = t.post(path, key, b'{"a": 2}', content_type="application/json")
            t.expect_status("other JSON", changed, 422)


@case("I20", "hole", "an upload is its files, whatever the boundary")
def upload(t: Trial) -> None:
    key = t.key()
    first = _upload(t, key, "boundary-one", b"%PDF-1.7 \x00\xff")
    t.expect_status("the upload", first, 201)
    t.expect_replay(_upload(t, key, "boundary-two", b"%PDF-1.7 \x00\xff"), first)
    t.expect_runs(1)
    t.expect_status("other bytes", _upload(t, key, "boundary-one", b"%PDF-1.7 \x00\xfe"), 422)
    t.expect_runs(1)


def _upload(t: Trial, key: str, boundary: str, content: bytes) -> Answer:
    lines = [
        f"--{boundary}".encode(),
        b'Content-Disposition: form-data; name="title"',
        b"",
        b"a report",
        f"--{boundary}".encode(),
        b'Content-Disposition: form-data; name="file"; filename="report.pdf"',
        b"Content-Type: application/pdf",
        b"",
        content,
        f"--{boundary}--".encode(),
        b"",
    ]
    media_type = f"multipart/form-data; boundary={boundary}"
    return t.post("/upload", key, b"\r\n".join(lines), content_type=media_type)
