"""How long each effect has taken lately in this process: what is quick may stand in a line."""

from __future__ import annotations

QUICK = 0.02  # seconds; under it a message of its own costs more than it saves (docs/adr)
_WEIGHT = 0.2  # of the newest run in the mean


class Pace:
    """Recent mean run times, by effect name."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def note(self, effect: str, seconds: float) -> None:
        mean = self._means.get(effect)
        self._means[effect] = seconds if mean is None else mean + _WEIGHT * (seconds - mean)

    def is_quick(self, effect: str) -> bool | None:
        """None: never measured here."""
        mean = self._means.get(effect)
        return None if mean is None else mean < QUICK

    def forget(self) -> None:
        self._means.clear()


pace = Pace()
