"""
What a case is, and what it has in its hands while it runs: a `Trial`.

A trial goes on after a check that fails, so that a case tells all that is wrong with an answer.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from .client import Answer, Client, Dropped, Header

REPLAY_MARKS = ("Idempotent-Replayed", "Idempotency-Replayed")
NOT_PUBLIC = "none"  # a check that we make and the public vectors do not
_PAUSE = 0.1  # seconds between two looks

Key = str | bytes | Sequence[str] | None


@dataclass(frozen=True)
class Options:
    """What the caller knows about the server."""

    header: str = "Idempotency-Key"
    media_type: str = "text/plain"  # of bodies that say nothing else; they are JSON all the same
    is_quoted: bool = False  # send keys as Structured Field strings everywhere
    ttl: float | None = None  # seconds that /echo remembers keys, where that is short
    store_down: str = ""  # URL of such a server whose store cannot be reached
    patience: float = 30  # seconds that a lease may take to end


@dataclass(frozen=True)
class Case:
    id: str
    tier: (
        str  # "core": the draft says so; "profile": a documented choice; "hole": found in the wild
    )
    title: str
    run: Callable[[Trial], None]
    vectors: tuple[str, ...] = ()  # of the public suite
    is_alone: bool = False  # it kills workers, so nothing else may be under way


@dataclass(frozen=True)
class Check:
    what: str
    expected: str
    came: str
    is_ok: bool
    vector: str | None = None  # the one public vector that asks for it; NOT_PUBLIC: none does

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, came {self.came}"


CASES: list[Case] = []


def case(
    id: str,  # noqa: A002  # that is what it is
    tier: str,
    title: str,
    *vectors: str,
    is_alone: bool = False,
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Enter a function as the case *id*, with the names of the public vectors that it repeats."""

    def enter(function: Callable[[Trial], None]) -> Callable[[Trial], None]:
        CASES.append(Case(id, tier, title, function, vectors, is_alone))
        return function

    return enter


@dataclass
class Trial:
    """One run of one case."""

    client: Client
    options: Options
    has_lanes: bool = False
    checks: list[Check] = field(default_factory=list)
    _rows_before: dict[str, int] = field(default_factory=dict)

    # Sending.

    def key(self) -> str:
        """A key that nobody has used, as most clients make them."""
        return str(uuid.uuid4())

    def post(
        self,
        target: str,
        key: Key = None,
        body: bytes = b'"payload-a"',
        *,
        content_type: str = "",
        cookies: str = "",
        header: str = "",
    ) -> Answer:
        media_type = content_type or self.options.media_type
        headers = self.headers(key, media_type, cookies, header)
        return self.client.send("POST", target, body, headers)

    def lose(self, target: str, key: Key) -> None:
        """Send what kills its worker, and check that no answer comes."""
        try:
            answer = self.post(target, key)
        except Dropped:
            came = "none"
        else:
            came = f"{answer.status} {answer.body[:80]!r}"
        self.expect("the answer of a worker that is killed", came, "none")

    def at_once(self, *calls: Callable[[], Answer]) -> list[Answer]:
        """The answers to calls that begin together."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    @contextmanager
    def under_way(self, call: Callable[[], Answer]) -> Iterator[Future[Answer]]:
        """
        Inside the block *call* is in its handler, as far as the counter tells.

        The public contract does not say whether it counts before it sleeps: there a second is
        enough. A server with lanes does, and has GET /runs, which waits for no transaction.
        """
        look = self.runs_now if self.has_lanes else self.count
        before = look()
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(call)
            deadline = time.monotonic() + (self.client.timeout if self.has_lanes else 1)
            time.sleep(_PAUSE)
            while look() == before and not future.done() and time.monotonic() < deadline:
                time.sleep(_PAUSE)
            yield future

    def headers(
        self, key: Key, content_type: str = "", cookies: str = "", header: str = ""
    ) -> list[Header]:
        headers: list[Header] = [("Content-Type", content_type)] if content_type else []
        if cookies:
            headers.append(("Cookie", cookies))
        values = [] if key is None else [key] if isinstance(key, str | bytes) else key
        return headers + [(header or self.options.header, self._spelled(value)) for value in values]

    def _spelled(self, key: str | bytes) -> str | bytes:
        """As given, or in quotes where the caller asked for it and it is nothing but a name."""
        if not self.options.is_quoted or isinstance(key, bytes):
            return key
        return f'"{key}"' if key.replace("-", "").isalnum() else key

    # Asking.

    def count(self) -> int:
        """How many handlers of this lane have run since the reset."""
        answer = self.client.send("GET", "/counter")
        return _number(answer, "count")

    def runs_now(self) -> int:
        """The same, outside the layer."""
        return _number(self.client.send("GET", "/runs"), "count")

    def rows(self, kind: str) -> int:
        """How many "rows" or "effects" were committed since the trial began to ask."""
        answer = self.client.send("GET", "/rows")
        return _number(answer, kind) - self._rows_before.get(kind, 0)

    def remember_rows(self) -> None:
        answer = self.client.send("GET", "/rows")
        self._rows_before = {kind: _number(answer, kind) for kind in ("rows", "effects")}

    def control(self, target: str) -> Answer:
        """POST to a route outside the layer that prepares the server."""
        answer = self.client.send("POST", target)
        if answer.status != 204:
            raise UnfitServer(f"POST {target} answered {answer.status}, not 204")
        return answer

    def until_settled(self, call: Callable[[], Answer], *, code: str = "conflict") -> Answer:
        """The first answer that is not 409 *code*, nor a dropped connection, within the patience."""
        deadline = time.monotonic() + self.options.patience
        while True:
            try:
                answer = call()
            except Dropped:
                if time.monotonic() > deadline:
                    raise
            else:
                is_waiting = answer.status == 409 and problem_code(answer) in (code, "")
                if not is_waiting or time.monotonic() > deadline:
                    return answer
            time.sleep(_PAUSE)

    # Checking.

    def expect(self, what: str, came: object, expected: object, *, vector: str = "") -> bool:
        return self.expect_that(
            what, came == expected, _shown(expected), _shown(came), vector=vector
        )

    def expect_that(
        self, what: str, is_ok: bool, expected: str, came: str, *, vector: str = ""
    ) -> bool:
        self.checks.append(Check(what, expected, came, is_ok, vector or None))
        return is_ok

    def expect_runs(self, expected: int, *, vector: str = "") -> None:
        self.expect("runs of the handler", self.count(), expected, vector=vector)

    def expect_rows(self, expected: int) -> None:
        """As many rows, and as many effects: they share one fate."""
        self.expect("committed rows", self.rows("rows"), expected)
        self.expect("committed effects", self.rows("effects"), expected)

    def expect_status(self, what: str, answer: Answer, expected: int, *, vector: str = "") -> bool:
        return self.expect(f"status of {what}", answer.status, expected, vector=vector)

    def expect_replay(
        self, answer: Answer, first: Answer, what: str = "the retry", *, vector: str = ""
    ) -> None:
        """The same status, type and bytes; whether it is marked is a case of its own."""
        self.expect_status(what, answer, first.status, vector=vector)
        types = answer.content_type, first.content_type
        self.expect(f"Content-Type of {what}", *types, vector=vector)
        self.expect(f"body of {what}", answer.body, first.body, vector=vector)

    def expect_unmarked(self, answer: Answer, what: str) -> None:
        self.expect(f"replay marks of {what}", marks(answer), ())

    def expect_problem(self, answer: Answer, status: int, code: str, what: str) -> None:
        self.expect_status(what, answer, status)
        self.expect(f"code of {what}", problem_code(answer), code)


class UnfitServer(Exception):
    """A route of the fixture contract does not do what it is there for."""


def marks(answer: Answer) -> tuple[str, ...]:
    """The headers that say: this is a replay."""
    return tuple(name for name in REPLAY_MARKS if answer.header(name))


def problem(answer: Answer) -> dict[str, object]:
    """The JSON object of *answer*, or nothing."""
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def problem_code(answer: Answer) -> str:
    """The stable `code` of a problem document, or nothing."""
    return str(problem(answer).get("code", ""))


def _number(answer: Answer, name: str) -> int:
    found = problem(answer).get(name)
    if answer.status != 200 or not isinstance(found, int):
        raise UnfitServer(f"no number {name!r} in {answer.status} {answer.body[:200]!r}")
    return found


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 160 else f"{text[:140]}… ({len(text)} characters)"
