"""Who looks at effects, and who pauses them."""

from __future__ import annotations

import pytest
from django.test import Client

from tests.admin.conftest import log_in
from tests.outbox.conftest import _this_process_remembers_nothing, make_effect

__all__ = ["_this_process_remembers_nothing", "log_in", "make_effect"]  # fixtures

LIST = "/admin/reliable_effects/effectcontrol/"


def page_of(name: str, verb: str = "") -> str:
    return f"{LIST}effect/{name}/{verb and verb + '/'}"


@pytest.fixture
def viewer(log_in) -> Client:
    return log_in("view_effectcontrol")


@pytest.fixture
def pauser(log_in) -> Client:
    return log_in("view_effectcontrol", "pause_effect", "view_delivery")
