"""
Ratios as they once were, so that a run can say what has become worse.

`expected.json` is written by `--expect` from a run on a quiet machine. What a ratio is taken to (the
raw statement, plain Celery, the floor) is measured in the same run, so another machine may be asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from .figures import Ratio
from .goals import GOALS, Rows, stray_of

FILE = Path(__file__).with_name("expected.json")
_TOLERANCE = 1.5  # times worse than expected, on top of the run's own noise


def ratios(rows: Rows) -> dict[str, float]:
    """Every goal's ratio that *rows* have; not what is in seconds or bytes, which no machine shares."""
    found = {}
    for goal in GOALS:
        value = goal.measured(rows)
        if value is not None and not goal.unit:
            found[goal.what] = round(value.median if isinstance(value, Ratio) else value, 3)
    return found


def regressions(rows: Rows, expected: Mapping[str, float]) -> list[str]:
    """What is worse than expected by more than chance; nothing where nothing is expected."""
    allowed = _TOLERANCE * (1 + stray_of(rows))
    measured = ratios(rows)
    worse = []
    for goal in GOALS:
        then, now = expected.get(goal.what), measured.get(goal.what)
        if then is None or now is None:
            continue
        if now < then / allowed if goal.at_least else now > then * allowed:
            worse.append(f"{goal.what}: {now:.2f}, and it was {then:.2f}")
    return worse


def read() -> dict[str, float]:
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


def write(rows: Rows) -> None:
    """Keep what this run has in place of what was expected of the same goals."""
    FILE.write_text(json.dumps({**read(), **ratios(rows)}, indent=1, sort_keys=True) + "\n")
