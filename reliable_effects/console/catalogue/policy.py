"""What was declared of an effect, in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ...effects.backoff import Backoff
from ...effects.effect import Effect
from ...effects.owed import ONCE

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"))
_GONE = {
    "poison": "it is set aside, for a person",
    "skip": "it is skipped",
    "run": "it runs all the same, without the row",
}


def in_words(effect: Effect[Any, Any]) -> list[tuple[str, str]]:
    """Each part of its policy, with what it is called."""
    told = [
        ("Because of", because_of(effect)),
        ("About", effect.event.subject or "no row"),
        ("Queue", effect.queue),
        ("Attempts", f"{effect.max_attempts} at most, the first included"),
        ("Between attempts", backoff(effect.backoff)),
        ("Timeout", _timeout(effect)),
        ("Expires", _expiry(effect)),
        ("Dependency", effect.dependency or "none named"),
        ("If its row is gone", _GONE[effect.subject_gone]),
    ]
    told += [(name, meaning) for name, meaning in _marks(effect).items()]
    if effect.aliases:
        told.append(("Earlier names", ", ".join(effect.aliases)))
    return told


def because_of(effect: Effect[Any, Any]) -> str:
    return effect.on.name if effect.on is not None else "a promise: no event is declared for it"


def marks(effect: Effect[Any, Any]) -> list[str]:
    return list(_marks(effect))


def backoff(rests: Backoff) -> str:
    if not rests.longest:
        return "no rest"
    if rests.first == rests.longest:
        return f"a random rest of up to {span(rests.longest)}"
    return (
        f"a random rest of up to {span(rests.first)} after the first failure, twice that after"
        f" each further one, up to {span(rests.longest)}"
    )


def span(of: timedelta) -> str:
    """Exactly, in at most three units: "1 min 30 s"."""
    left = of.total_seconds()
    told = []
    for seconds, unit in _UNITS:
        whole, left = divmod(left, seconds)
        if whole:
            told.append(f"{whole:.0f} {unit}")
    if left or not told:
        told.append(f"{left:g} s")
    return " ".join(told)


def _timeout(effect: Effect[Any, Any]) -> str:
    one = f"{span(effect.timeout)} for one run"
    if effect.max_runtime is None:
        return one
    return f"{one}, {span(effect.max_runtime)} in all with its heartbeats"


def _expiry(effect: Effect[Any, Any]) -> str:
    if effect.expires_after is None:
        return "never"
    return f"{span(effect.expires_after)} after the event; later it is skipped"


def _marks(effect: Effect[Any, Any]) -> dict[str, str]:
    found = {}
    if effect.atomic:
        found["atomic"] = "its writes and its end are one transaction"
    if effect.harmless_to_repeat:
        found["harmless to repeat"] = "it may run again after it succeeded, and runs in groups"
    if effect.verify is not None:
        found["verify"] = "it can find out whether it happened"
    if effect.still_needed is not None:
        found["still needed"] = "asked right before each run"
    if (owed := effect.owed_query) is not None:
        debt = "once in its row's life" if owed.debt is ONCE else "several debts of one row"
        again = "; what is owed again is run again" if owed.reopen else ""
        found["owed"] = (
            f"the business tables say so, since {owed.since}, after {span(owed.grace)};"
            f" {debt}{again}"
        )
    return found
