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


def table() -> list[tuple[str, str]]:
    """The figures as docs/explanation/chaos.md has them: what, and how many."""
    told = figures()
    times, found = told["faults"], told["findings"]
    return [
        ("minutes of load", f"{told['load_seconds'] / 60:.0f}"),
        ("orders acknowledged", f"{told['acknowledged']:,}"),
        ("effects done", f"{told['done']:,}"),
        ("blows", f"{sum(times.values()):,}"),
        *((kind, f"{sum(times.get(name, 0) for name in names)}") for kind, names in _KINDS.items()),
        *((kind, f"{number}") for kind, number in found.items()),
        ("runs that the blows may have cut", f"{told['struck']:,}"),
        ("extra runs", f"{told['extra_runs']:,}"),
        ("extra runs for each run that may have been cut", f"{_each(told):.2f}"),
        ("recovery, median", f"{told['recovery_p50']:.1f} s"),
        ("recovery, 99 in 100 within", f"{told['recovery_p99']:.1f} s"),
    ]


_KINDS = {
    "workers and their children killed": ("kill_child", "kill_worker"),
    "workers frozen past their lease": ("freeze_worker",),
    "effects that kill their process promised": ("killer",),
    "brokers killed, hung or cut off": ("kill_broker", "hang_broker", "cut_broker"),
    "brokers wiped": ("wipe_broker",),
    "databases killed and restarted": ("restart_database",),
    "databases cut off, full, or out of connections": (
        "kill_sessions", "cut_commits", "cut_database", "exhaust_connections", "fill_disk",
    ),
    "clocks put wrong": ("worker_clock", "database_clock"),
    "beats killed or doubled": ("two_beats", "no_beat"),
    "workers of the release before": ("old_release",),
    "times that all deliveries and events were deleted": ("lose_tables",),
}  # fmt: skip


def _each(told: dict[str, Any]) -> float:
    return told["extra_runs"] / told["struck"] if told["struck"] else 0.0


def of_row(row: str) -> Iterator[tuple[str, str]]:
    """The faults of that run that stand for a *row* of the fault matrix, and how often each came."""
    told = figures()
    for name, times in sorted(told["faults"].items()) if told else ():
        if row in told["rows"][name].split():
            minutes = f"{told['load_seconds'] / 60:.0f} min"
            seen = f"{told['date']}, {times} times in {minutes}: [what it saw](chaos.md)"
            yield f"`make chaos`, `{name}`", seen
