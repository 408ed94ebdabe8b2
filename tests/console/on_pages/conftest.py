"""Users, and the admin sites of a project."""

from __future__ import annotations

import pytest

from tests.admin.conftest import log_in
from tests.outbox.conftest import _this_process_remembers_nothing, make_effect

__all__ = ["_this_process_remembers_nothing", "log_in", "make_effect"]  # fixtures


@pytest.fixture(autouse=True)
def _own_sites(settings) -> None:
    settings.ROOT_URLCONF = "tests.console.on_pages.urls"
