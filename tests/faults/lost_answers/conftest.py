"""Every scenario in turn, and the wire between Django and its database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests import recording
from tests.faults.lost_answers import of_jobs, of_others, of_requests, of_workers
from tests.faults.lost_answers.scenario import MakeEffect, Scenario
from tests.forgetting import forget_everything
from tests.outbox.conftest import (
    _this_process_remembers_nothing,
    make_effect,
    unhurried,
)
from tests.services import Proxy

__all__ = ["_this_process_remembers_nothing", "make_effect", "unhurried"]  # fixtures

SCENARIOS = [
    kind
    for module in (of_workers, of_others, of_jobs, of_requests)
    for kind in vars(module).values()
    if isinstance(kind, type)
    and issubclass(kind, Scenario)
    and kind is not Scenario
    and not kind.__name__.startswith("_")
]


@pytest.fixture(params=SCENARIOS, ids=lambda kind: kind.__name__)
def scenario(
    request: pytest.FixtureRequest,
    make_effect: MakeEffect,
    tmp_path: Path,
    settings,
    unhurried,  # noqa: ARG001  # what is retried rests for longer than a hint's bound
) -> Scenario:
    """Hints go into a list, which says nothing: what is due is found by its rows."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "tests.recording.send"}
    forget_everything()
    recording.sent.clear()
    return request.param(make_effect, tmp_path)


@pytest.fixture
def wire() -> Iterator[Proxy]:
    """Between Django and its database."""
    settings, port = connection.settings_dict, connection.settings_dict["PORT"]
    connection.close()
    with Proxy(int(port)) as proxy:
        settings["PORT"] = proxy.port
        try:
            yield proxy
        finally:
            connection.close()
            settings["PORT"] = port
