"""One run: load, blows, quiet, judgement."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from example_project.processes import until
from tests.chaos.checker import Judgement, judge
from tests.chaos.client import Load
from tests.chaos.crowd import Crowd
from tests.chaos.faults import Fault
from tests.chaos.history import Blow, History
from tests.chaos.journal import Journal
from tests.chaos.nemesis import Nemesis
from tests.chaos.stage import Stage

DRAIN = 1200.0  # seconds at most, when all faults are over, as long as something moves
STUCK = 90.0  # seconds without a new call: longer than any lease, rest, backoff and shifted clock
QUIET = 3.0  # seconds without a call, before the account is made up
REST = 2.0  # seconds between two blows, on average
SOON = 25.0  # the same, where something is known to be wrong
# Some answers of the payment partner are lost however late its calls come.
AFTERWARDS = {"*": {}, "payment": {"drop": 0.05}}
# Where a bug is looked for, a few dozen orders have to show it.
ROUGH = {"*": {"fail": 0.15, "drop": 0.15, "stall": 0.1, "stall_seconds": 1.5}}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    judgement: Judgement
    blows: list[Blow]
    came_to_rest: bool
    seconds: float  # of the load


def run(
    stage: Stage,
    faults: Sequence[Fault],
    *,
    seconds: float,
    seed: int,
    pace: float,
    is_doubtful: bool = False,
    say: Callable[[str], None],
) -> Outcome:
    """
    *stage* is up. A customer rests *pace* seconds between two orders, on average. Where the code
    *is_doubtful*, the drain ends as soon as something is wrong that no waiting can mend.

    Raises:
        Exception: what a customer met that is no answer of a shop in trouble.
    """
    journal = Journal(stage.folder / "journal.jsonl")
    crowd = Crowd(stage.ledger, journal)
    load = Load(stage.web_url, journal, seed=seed, pace=pace, crowded=crowd.is_too_large)
    nemesis = Nemesis(stage, faults, seed=seed, rest=REST, say=say)
    if is_doubtful:
        stage.behave(ROUGH)
    load.start()
    began = time.monotonic()
    try:
        nemesis.rage(seconds)
    finally:
        stage.heal()
        load.stop()
    lasted = time.monotonic() - began
    if not is_doubtful:  # a slow machine makes its first calls, and their failures, only now
        stage.behave(AFTERWARDS)
    say("the faults have ended; waiting for what is still owed")
    blows = nemesis.blows
    judgement, at_rest = _drain(stage, journal, blows, is_doubtful, say)
    _keep(stage.folder, blows)
    return Outcome(judgement=judgement, blows=blows, came_to_rest=at_rest, seconds=lasted)


def _drain(
    stage: Stage, journal: Journal, blows: list[Blow], is_doubtful: bool,
    say: Callable[[str], None],
) -> tuple[Judgement, bool]:  # fmt: skip
    """Judge until it is sound and quiet, or nothing has moved for long, or the time is over."""
    lines = journal.lines()
    seen, moved_at, shown = -1, 0.0, 0.0
    judgement, at_rest = None, False
    for gone in until(DRAIN, pause=0.5):
        stage.heal()  # a worker that a late consequence has ended
        history = History(lines=lines, blows=blows, **stage.evidence())
        judgement = judge(history)
        if len(history.calls) != seen:
            seen, moved_at = len(history.calls), gone
        at_rest = gone - moved_at >= QUIET and judgement.is_sound
        is_stuck = gone - moved_at >= (SOON if is_doubtful else STUCK)
        if at_rest or is_stuck or (is_doubtful and judgement.is_beyond_help):
            break
        if gone - shown >= 10:  # seconds
            shown = gone
            missing = judgement.promised - judgement.done
            say(f"{missing} of {judgement.promised} effects are not done, or not needed")
    assert judgement is not None  # it is judged once at least
    return judgement, at_rest


def _keep(folder: Path, blows: list[Blow]) -> None:
    """Beside the journal: whoever doubts the judgement has all that it was made from."""
    lines = [json.dumps(asdict(blow)) for blow in blows]
    (folder / "blows.jsonl").write_text("\n".join(lines) + "\n")
