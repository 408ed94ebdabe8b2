"""The servers start once for the tests that need them, and are gone before other tests run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from reliable_effects.conformance.run import Result
from tests.conformance.stage import SIX, Stage, Variant, stage
from tests.services import MariaDB, Postgres

_VARIABLES = {"postgres": Postgres.variable, "mariadb": MariaDB.variable}


@pytest.fixture(scope="module")
def fixture_servers(
    django_db_setup: None,  # noqa: ARG001  # so it counts as a test of this database
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stage]:
    kind = os.environ.get("TEST_DATABASE", "sqlite")
    url = os.environ[_VARIABLES[kind]] if kind in _VARIABLES else ""
    with stage(kind, url, tmp_path_factory.mktemp("fixture")) as made:
        yield made


@pytest.fixture(scope="module")
def on_each(fixture_servers: Stage) -> dict[Variant, list[Result]]:
    return fixture_servers.run_on_each(*SIX)
