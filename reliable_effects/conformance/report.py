"""What a run says: a line for each case, the tally of the public vectors, or all of it as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .run import Outcome, Result

# sns45/anyonce, conformance/REPORT.md, as read in November 2026: name, core of 11, profile of 9.
PUBLISHED = (
    ("anyonce (TypeScript and Go)", 11, 9),
    ("hono-idempotency 0.9.1", 11, 4),
    ("idempo 1.0.0", 9, 3),
    ("fiber 3.5.0", 7, 0),
)
DISCLAIMER = (
    "The 20 vectors are those of sns45/anyonce by name and content, written again here;"
    " its own runner was not used."
)


def line(result: Result) -> str:
    """One case, and below it what was expected and what came where that differs."""
    case = result.case
    text = f"{case.id} {result.outcome:<11} {case.title}"
    if result.outcome is Outcome.NOT_OFFERED:
        text += f" (no {result.note})"
    return "\n".join([text, *(f"      {failure}" for failure in result.failures)])


def tally(results: Sequence[Result]) -> dict[str, tuple[int, int]]:
    """For "core" and "profile": how many public vectors passed, of how many that were asked for."""
    passed: dict[str, list[bool]] = {"core": [], "profile": []}
    for result in results:
        for vector in result.case.vectors:
            tier = vector.partition("/")[0]
            passed[tier].append(result.of_vector(vector) is Outcome.PASSED)
    return {tier: (sum(found), len(found)) for tier, found in passed.items()}


def summary(results: Sequence[Result]) -> str:
    counts = {outcome: _count(results, outcome) for outcome in Outcome}
    tallied = tally(results)
    ours = ", ".join(f"{tier} {passed}/{all_}" for tier, (passed, all_) in tallied.items())
    published = "; ".join(f"{name}: {core}/11, {profile}/9" for name, core, profile in PUBLISHED)
    return "\n".join(
        [
            "",
            ", ".join(f"{number} {outcome}" for outcome, number in counts.items()),
            f"of the public vectors: {ours}",
            f"published elsewhere: {published}",
            DISCLAIMER,
        ]
    )


def as_json(url: str, results: Iterable[Result]) -> dict[str, object]:
    results = list(results)
    return {
        "url": url,
        "vectors": {tier: list(found) for tier, found in tally(results).items()},
        "published": {name: [core, profile] for name, core, profile in PUBLISHED},
        "note": DISCLAIMER,
        "cases": [
            {
                "id": result.case.id,
                "tier": result.case.tier,
                "title": result.case.title,
                "outcome": str(result.outcome),
                "note": result.note,
                "vectors": {name: str(result.of_vector(name)) for name in result.case.vectors},
                "checks": [
                    {
                        "what": check.what,
                        "expected": check.expected,
                        "came": check.came,
                        "ok": check.is_ok,
                    }
                    for check in result.checks
                ],
            }
            for result in results
        ],
    }


def has_failed(results: Iterable[Result]) -> bool:
    return any(result.outcome is Outcome.FAILED for result in results)


def _count(results: Iterable[Result], outcome: Outcome) -> int:
    return sum(result.outcome is outcome for result in results)
