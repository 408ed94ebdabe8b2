"""I08 to I14: how a key may be written."""

from __future__ import annotations

from ..case import NOT_PUBLIC, Key, Trial, case, problem_code


@case("I08", "core", "a quoted key works", "core/sf-string-quoted-key")
def quoted(t: Trial) -> None:
    key = f'"{t.key()}"'
    first = t.post("/echo", key)
    t.expect_status("the request", first, 201)
    t.expect_replay(t.post("/echo", key), first)
    t.expect_runs(1)


@case("I09", "profile", "quoted and bare are the same key")
def quoted_then_bare(t: Trial) -> None:
    key = t.key()
    first = t.post("/echo", f'"{key}"')
    t.expect_status("the request", first, 201)
    t.expect_replay(t.post("/echo", key.encode()), first)
    t.expect_runs(1)


@case("I10", "profile", "a bare UUID is a key, but not where the draft is taken by its word")
def bare(t: Trial) -> None:
    # A digit first: no Structured Field begins like this. Each route gets a key of its own.
    key, other = (f"8{t.key()[1:]}" for _ in range(2))
    t.expect_status("a bare key", t.post("/echo", key.encode()), 201)
    t.expect_runs(1)
    strict = t.post("/strict", other.encode())
    t.expect_problem(strict, 400, "invalid-key", "a bare key on the strict route")
    t.expect_status("a quoted key there", t.post("/strict", f'"{other}"'), 201)
    t.expect_runs(2)


@case("I11", "profile", "an empty key is an error", "profile/empty-key-rejected")
def empty(t: Trial) -> None:
    for what, key in (('""', '""'), ("blanks", "   ")):
        # The public vector sends the empty string alone.
        vector = "" if key == '""' else NOT_PUBLIC
        answer = t.post("/echo", key)
        t.expect_status(what, answer, 400, vector=vector)
        t.expect(f"code of {what}", problem_code(answer), "invalid-key", vector=NOT_PUBLIC)
    t.expect_runs(0)


@case("I12", "profile", "255 characters are a key, 256 are not", "profile/key-too-long")
def long(t: Trial) -> None:
    key = t.key().ljust(255, "x")
    t.expect_status("256 characters", t.post("/echo", f"{key}x"), 400)
    t.expect_runs(0)
    # That 255 are one is our own word.
    t.expect_status("255 characters", t.post("/echo", key), 201, vector=NOT_PUBLIC)
    t.expect_runs(1, vector=NOT_PUBLIC)


@case("I13", "profile", "what is no key is an error, never no key")
def malformed(t: Trial) -> None:
    name = t.key()
    wrong: list[tuple[str, Key]] = [
        ("a tab", f'"{name}\t1"'),
        ("a control character", f'"{name}\x011"'),
        ("a letter beyond ASCII", f'"{name}é"'.encode()),
        ("a list", f'"{name}", "{name}"'),
        ("the header twice", [f"{name}", f"{name}"]),
        ("a quote that does not end", f'"{name}'),
    ]
    for what, key in wrong:
        t.expect_status(what, t.post("/optional", key), 400)
        t.expect_status(f"{what}, where a key is required", t.post("/echo", key), 400)
    t.expect_runs(0)


@case("I14", "core", "the header's name has no case", "core/header-name-case-insensitive")
def lower_case(t: Trial) -> None:
    key = t.key()
    first = t.post("/echo", key)
    t.expect_status("the request", first, 201)
    retry = t.post("/echo", key, header=t.options.header.lower())
    t.expect_replay(retry, first)
    t.expect_runs(1)
