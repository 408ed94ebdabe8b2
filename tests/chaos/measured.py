"""What a long run has measured: `make chaos ARGS="… --json tests/chaos/measured.json"` keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("measured.json")


def figures() -> dict[str, Any]:
    """As `telling.as_json` wrote them; nothing, where nothing was kept."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def of_row(row: str) -> Iterator[tuple[str, str]]:
    """The faults of that run that stand for a *row* of the fault matrix, and what became of all."""
    told = figures()
    for name, times in sorted(told["faults"].items()) if told else ():
        if row in told["rows"][name].split():
            minutes, lost = told["load_seconds"] / 60, told["findings"]["lost"] or "nothing"
            seen = f"{told['date']}, {times} times in {minutes:.0f} min, {lost} lost"
            yield f"`make chaos`, `{name}`", seen
