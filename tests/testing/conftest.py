from __future__ import annotations

import pytest

from reliable_effects.effects.registry import registry


@pytest.fixture
def scratch():
    """A test's own events and effects are forgotten after it."""
    with registry.scratch():
        yield
