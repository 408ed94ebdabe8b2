"""This package's own fixture passes its own suite, over HTTP, on each database."""

from __future__ import annotations

import pytest

import reliable_effects.conformance.cases  # noqa: F401  # enters them
from reliable_effects.conformance.report import line, tally
from reliable_effects.conformance.run import Outcome, Result
from tests.conformance.stage import SIX, VARIANTS, Stage, Variant

pytestmark = pytest.mark.timeout(300)  # the servers start within the first test


def _expect_all_passed(results: list[Result]) -> None:
    wrong = [line(result) for result in results if result.outcome is not Outcome.PASSED]
    assert not wrong, "\n" + "\n".join(wrong)


def test_all_42_cases_pass(fixture_servers: Stage):
    """Several worker processes; two of them are killed, and one server loses its database."""
    results = fixture_servers.run(VARIANTS[0])

    assert len(results) == 42
    _expect_all_passed(results)
    assert tally(results) == {"core": (11, 11), "profile": (9, 9)}


@pytest.mark.parametrize("variant", VARIANTS, ids=[variant.name for variant in VARIANTS])
def test_six_cases_pass_on_every_variant(on_each: dict[Variant, list[Result]], variant: Variant):
    """Plain and REST framework's views, with and without ATOMIC_REQUESTS, over WSGI and ASGI."""
    results = on_each[variant]

    assert tuple(result.case.id for result in results) == SIX
    _expect_all_passed(results)
