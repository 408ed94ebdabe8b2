"""The person at the keyboard: who it is, and whether they agree."""

from __future__ import annotations

import getpass


def who(otherwise: str) -> str:
    """The user's name, for logs; *otherwise* where it has none, as in some containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return otherwise


def agrees(question: str) -> bool:
    """Whether they answer yes. Where nobody is there to answer, it is no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
