"""
Running cases against one server: one after the other, or side by side where it offers lanes.

A lane is a copy of the fixture routes below /lanes/NAME/ with a counter and rows of its own; so
cases do not see each other. The six routes of the public contract need none.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum

from .case import Case, Check, Options, Trial, UnfitServer
from .client import Client, Dropped, NotOffered

_SIDE_BY_SIDE = 6  # most of a case is waiting


class Unreachable(Exception):
    """Nobody answers there, or nobody who offers the fixture routes."""


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


@dataclass(frozen=True)
class Result:
    case: Case
    outcome: Outcome
    checks: tuple[Check, ...]
    note: str = ""  # which route is missing, or what went wrong

    @property
    def failures(self) -> list[str]:
        failed = [str(check) for check in self.checks if not check.is_ok]
        return failed + ([self.note] if self.note and self.outcome is Outcome.FAILED else [])

    def of_vector(self, name: str) -> Outcome:
        """
        How it stands with one public vector, by the checks that it makes too.

        A case asks for more: it may fail, or lack a route, where the vector passes.
        """
        own = [check for check in self.checks if check.vector in (None, name)]
        if any(not check.is_ok for check in own):
            return Outcome.FAILED
        if any(check.vector == name for check in self.checks) or self.outcome is Outcome.PASSED:
            return Outcome.PASSED
        only_ours = own and self.outcome is Outcome.FAILED and not self.note
        return Outcome.PASSED if only_ours else self.outcome


def run(
    client: Client,
    cases: Sequence[Case],
    options: Options,
    tell: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """
    The results in the order of *cases*; *tell* hears each as it comes.

    Raises:
        Unreachable: the server does not answer POST /reset and GET /counter.
    """
    has_lanes = _look_at(client)
    results: dict[str, Result] = {}

    def attempt(case: Case) -> Result:
        lane = client.below(f"/lanes/{uuid.uuid4().hex[:12]}") if has_lanes else client
        return _attempt(case, Trial(lane, options, has_lanes))

    def keep(result: Result) -> None:
        results[result.case.id] = result
        tell(result)

    together = [case for case in cases if has_lanes and not case.is_alone]
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        for future in as_completed([pool.submit(attempt, case) for case in together]):
            keep(future.result())
    for case in cases:
        if case not in together:
            keep(attempt(case))
    return [results[case.id] for case in cases]


def _look_at(client: Client) -> bool:
    """Whether the server offers lanes."""
    try:
        if client.send("POST", "/reset").status != 204:
            raise Unreachable(f"POST {client.url}/reset does not answer 204: no fixture server.")
        Trial(client, Options()).count()
        return client.exchange("POST", "/lanes/a/reset").status == 204
    except Dropped as error:
        raise Unreachable(f"Nothing answers at {client.url}: {error}.") from error
    except (NotOffered, UnfitServer) as error:
        raise Unreachable(f"{client.url} is no fixture server: {error}.") from error


def _attempt(case: Case, trial: Trial) -> Result:
    try:
        trial.control("/reset")
        case.run(trial)
    except NotOffered as missing:
        outcome, note = Outcome.NOT_OFFERED, missing.route
    except (Dropped, UnfitServer) as error:
        outcome, note = Outcome.FAILED, str(error)
    else:
        outcome, note = Outcome.PASSED, ""
    if any(not check.is_ok for check in trial.checks):
        outcome = Outcome.FAILED
    return Result(case, outcome, tuple(trial.checks), note)
