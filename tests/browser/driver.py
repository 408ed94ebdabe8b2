"""Playwright and axe where they are installed; tests that need them are skipped where they are not."""

from __future__ import annotations

from importlib.util import find_spec

from tests.services.server import Missing

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect, sync_playwright
except ImportError:  # collected all the same; `installed` says what is missing
    Axe = expect = sync_playwright = None  # type: ignore[assignment, misc]

__all__ = ["Axe", "NoPlaywright", "expect", "installed", "sync_playwright"]


class NoPlaywright(Missing):
    def __init__(self, module: str) -> None:
        Exception.__init__(
            self, f"{module} is not installed. `scripts/environment test` does that."
        )


def installed() -> None:
    """
    Raises:
        NoPlaywright: the environment lacks one of them.
    """
    for module in ("playwright", "axe_playwright_python"):
        if find_spec(module) is None:
            raise NoPlaywright(module)
