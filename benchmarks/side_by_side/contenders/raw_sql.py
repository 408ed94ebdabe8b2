"""The limit: our rows, written and taken by one raw statement each, with none of the care."""

from __future__ import annotations

from .contender import Contender, Kind

_WORKER = ["-m", "benchmarks.side_by_side.raw_worker"]

CONTENDERS = [
    Contender(
        name="raw_sql",
        title="raw SQL, same rows",
        kind=Kind.LIMIT,
        application="raw_sql",
        distributions=("psycopg",),
        apps=("reliable_effects",),
        settings=lambda _broker, _queue: {"RELIABLE_EFFECTS": {"TRANSPORT": "none"}},
        workers=lambda processes: [_WORKER] * processes,
        how="Emit: the one INSERT of both tables, sent through Django's cursor. Drain: claim and"
        " completion in one autocommitted UPDATE, one row at a time (fifty for what may be"
        " repeated); a death between it and the run loses the effect.",
    )
]
