"""
Names of events and effects as rows carry them, which may be those of an earlier release.

A status that names one means all the names that it has had.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .registry import registry


def of_effects(names: Collection[str]) -> frozenset[str]:
    """*names*, and what else their effects are or were called."""
    return frozenset(name for given in names for name in registry.names_like(given))


def of_events(names: Collection[str]) -> frozenset[str]:
    """The same of events."""
    found = [(given, registry.find_event(given)) for given in names]
    return frozenset(
        name
        for given, event in found
        for name in ((given,) if event is None else (event.name, *event.aliases))
    )


def label(effect: str, labels: Mapping[str, str]) -> str:
    """What *labels* call it, under whichever of its names; else its own."""
    known = known_label(effect, labels)
    return effect if known is None else known


def known_label(effect: str, labels: Mapping[str, str]) -> str | None:
    """The same; None where they have no word for it."""
    known = (labels[name] for name in (effect, *registry.names_like(effect)) if name in labels)
    return next(known, None)
