"""
Fixtures for pytest, found through the `pytest11` entry point.

Each hands out the function of the same name in `reliable_effects.testing`. Database access is
marked as ever: `@pytest.mark.django_db`.
"""

from __future__ import annotations

from typing import Any

import pytest

from reliable_effects import testing


@pytest.fixture(name="run_effects")
def _run_effects() -> Any:
    """Carry out what is owed: `run_effects(until=None, record=False)`."""
    return testing.run_effects


@pytest.fixture(name="assert_emitted")
def _assert_emitted() -> Any:
    """Look at what was promised: `assert_emitted(event, subject)`."""
    return testing.assertEmitted


@pytest.fixture(name="assert_not_emitted")
def _assert_not_emitted() -> Any:
    """Look at what was not promised: `assert_not_emitted(event, subject)`."""
    return testing.assertNotEmitted


@pytest.fixture(name="assert_crash_safe")
def _assert_crash_safe() -> Any:
    """Kill an effect at each step and run it again: `assert_crash_safe(effect, subject)`."""
    return testing.assert_crash_safe
