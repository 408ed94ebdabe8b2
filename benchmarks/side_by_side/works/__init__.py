"""What is measured, one module for each work: `run(bench)` adds rows to it."""

from __future__ import annotations

from collections.abc import Callable

from ..bench import Bench
from . import (
    broker_down,
    drain,
    fan_out,
    growth,
    latency,
    memory,
    portable,
    request,
    snapshot,
    wal,
)

WORKS: dict[str, Callable[[Bench], None]] = {
    "request": request.run,
    "portable": portable.run,
    "drain": drain.run,
    "latency": latency.run,
    "fan_out": fan_out.run,
    "growth": growth.run,
    "snapshot": snapshot.run,
    "wal": wal.run,
    "memory": memory.run,
    "broker_down": broker_down.run,
}
