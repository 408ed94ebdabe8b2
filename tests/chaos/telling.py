"""What a run tells at its end: to a person, and as JSON."""

from __future__ import annotations

import os
import platform
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from statistics import quantiles
from typing import Any

from tests.chaos.faults import rows_of
from tests.chaos.run import Outcome

_MOST = 8  # findings of one kind that are shown


def told(outcome: Outcome) -> Iterator[str]:
    judgement = outcome.judgement
    times = Counter(blow.name for blow in outcome.blows)
    yield ""
    yield "  fault                 times   may have cut   recovered within (s)"
    for name, count in sorted(times.items()):
        struck = sum(blow.struck for blow in outcome.blows if blow.name == name)
        longest = max(r.seconds for r in judgement.recoveries if r.blow == name)
        yield f"  {name:<22}{count:>5}{struck:>15}{longest:>23.1f}"
    yield ""
    yield (
        f"  {judgement.acknowledged} orders acknowledged, {judgement.unknown} without an answer,"
        f" {judgement.orders} there"
    )
    yield f"  {judgement.promised} effects promised, {judgement.done} done"
    yield (
        f"  {judgement.extra_runs} extra runs ({judgement.extra_per_strike:.2f} for each run that a"
        f" fault may have cut), {judgement.extra_harmless} more of harmless effects"
    )
    if len(judgement.recoveries) > 1:
        yield f"  recovery p50 {recovery(outcome, 50):.1f} s, p99 {recovery(outcome, 99):.1f} s"
    for kind, findings in judgement.findings.items():
        yield f"  {kind:<24}{len(findings):>5}"
        yield from (f"      {finding}" for finding in findings[:_MOST])


def recovery(outcome: Outcome, percent: int) -> float:
    """Seconds, over all blows."""
    seconds = sorted(r.seconds for r in outcome.judgement.recoveries)
    if len(seconds) < 2:  # else there is nothing between
        return seconds[0] if seconds else 0.0
    return quantiles(seconds, n=100, method="inclusive")[percent - 1]


def as_json(outcome: Outcome, **run: Any) -> dict[str, Any]:
    judgement = outcome.judgement
    return {
        **run,
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_seconds": round(outcome.seconds, 1),
        "came_to_rest": outcome.came_to_rest,
        "faults": Counter(blow.name for blow in outcome.blows),
        "rows": {blow.name: rows_of(blow.name) for blow in outcome.blows},
        "struck": judgement.struck,
        "orders": judgement.orders,
        "acknowledged": judgement.acknowledged,
        "unknown": judgement.unknown,
        "promised": judgement.promised,
        "done": judgement.done,
        "extra_runs": judgement.extra_runs,
        "extra_harmless": judgement.extra_harmless,
        "recovery_p50": round(recovery(outcome, 50), 2),
        "recovery_p99": round(recovery(outcome, 99), 2),
        "findings": {kind: len(found) for kind, found in judgement.findings.items()},
        "first_findings": _firsts(judgement.findings.items()),
    }


def _firsts(findings: Any) -> Sequence[str]:
    return [f"{kind}: {found[0]}" for kind, found in findings if found]
