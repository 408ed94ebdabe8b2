"""A mutant: one guard of the core taken away, and the tests that must notice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GUARD = "a guard is removed: "  # how the table of proofs knows a mutant from a fault


class GuardMoved(Exception):
    """The text that a mutant replaces is not in its file exactly once. Mend the mutant."""

    def __init__(self, name: str, file: str, times: int) -> None:
        super().__init__(f"{name}: the guard has moved; its text is {times} times in {file}.")


@dataclass(frozen=True)
class Edit:
    file: str  # below reliable_effects/
    find: str  # exactly once in it
    put: str


def edited(name: str, edits: Iterable[Edit], package: Path) -> dict[str, str]:
    """
    The files of *package* as the *edits* of *name* have them; nothing is written.

    Raises:
        GuardMoved: a text is not there, or more than once.
    """
    changed: dict[str, str] = {}
    for edit in edits:
        text = changed.get(edit.file) or (package / edit.file).read_text()
        if (times := text.count(edit.find)) != 1:
            raise GuardMoved(name, edit.file, times)
        changed[edit.file] = text.replace(edit.find, edit.put)
    return changed


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """`tests` are node ids below tests/; together they are the smallest set that must notice."""

    name: str
    breaks: str  # the promise (P) or rule (R) of the design that goes with it, in plain words
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    database: str = "sqlite"

    def mutated(self, package: Path) -> dict[str, str]:
        """
        The changed files of *package*, by their names; nothing is written.

        Raises:
            GuardMoved: a text is not there, or more than once.
        """
        return edited(self.name, self.edits, package)


def mutant(
    name: str, breaks: str, *edits: tuple[str, str, str], by: tuple[str, ...], on: str = "sqlite"
) -> Mutant:
    """One line of the catalogue less."""
    return Mutant(
        name=name, breaks=breaks, edits=tuple(Edit(*e) for e in edits), tests=by, database=on
    )
