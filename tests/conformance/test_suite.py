"""The suite itself: each case can fail, and what is not there is never called passed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reliable_effects.conformance.cases  # noqa: F401  # enters them
from reliable_effects.conformance.case import CASES, Options
from reliable_effects.conformance.client import Client
from reliable_effects.conformance.report import tally
from reliable_effects.conformance.run import Outcome, run
from tests.conformance.naive import Forgetful, Hoarder

_ROOT = Path(__file__).parents[2]
_PUBLIC_ROUTES = {"echo", "status", "slow", "large"}

# What needs no guard at all: the same that the public suite says of its vectors.
_PASS_WITHOUT_KEYS = {"I01", "I04", "I07", "I15", "I18", "I26", "I28", "I34"}


def _outcomes(server: Forgetful) -> dict[str, Outcome]:
    options = Options(store_down=server.url, patience=1)
    return {r.case.id: r.outcome for r in run(Client(server.url), CASES, options)}


def test_there_are_42_cases_and_each_public_vector_once():
    ids = sorted(case.id for case in CASES)
    vectors = [vector for case in CASES for vector in case.vectors]

    assert ids == [f"I{number:02}" for number in range(1, 43)]
    assert len(vectors) == len(set(vectors)) == 20
    assert sum(vector.startswith("core/") for vector in vectors) == 11


def test_a_server_that_knows_no_keys_fails_whatever_needs_them():
    with Forgetful() as server:
        outcomes = _outcomes(server)

    passed = {name for name, outcome in outcomes.items() if outcome is Outcome.PASSED}
    failed = {name for name, outcome in outcomes.items() if outcome is Outcome.FAILED}
    assert passed == _PASS_WITHOUT_KEYS
    assert failed == outcomes.keys() - _PASS_WITHOUT_KEYS


def test_a_server_that_knows_nothing_but_keys_fails_the_others():
    with Hoarder() as server:
        outcomes = _outcomes(server)

    assert {outcomes[name] for name in _PASS_WITHOUT_KEYS} == {Outcome.FAILED}


def test_a_route_that_is_missing_is_not_offered_and_not_passed():
    with Forgetful(_PUBLIC_ROUTES) as server:
        results = run(Client(server.url), CASES, Options())

    missing = {r.case.id: r.note for r in results if r.outcome is Outcome.NOT_OFFERED}
    assert missing["I07"] == "POST /optional"
    assert missing["I42"].startswith("a server without its store")
    assert tally(results) == {"core": (3, 11), "profile": (1, 9)}


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    # No settings: whoever runs it may have no Django project at all.
    told = {name: value for name, value in os.environ.items() if "DJANGO" not in name}
    return subprocess.run(
        [sys.executable, "-m", "reliable_effects.conformance", *arguments],
        cwd=_ROOT,
        env=told,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_command_says_what_was_expected_and_what_came():
    with Forgetful() as server:
        ended = _command(server.url, "--only", "I01,I05")

    assert ended.returncode == 1
    assert "I01 passed" in ended.stdout
    assert "status of a request without a key: expected 400, came 201" in ended.stdout
    assert "core 1/2, profile 0/0" in ended.stdout
    assert "hono-idempotency 0.9.1: 11/11, 4/9" in ended.stdout
    assert "written again here" in ended.stdout


def test_the_command_ends_well_where_all_that_is_offered_passes():
    with Forgetful(_PUBLIC_ROUTES) as server:
        ended = _command(server.url, "--only", "I01,I07", "--json")

    assert ended.returncode == 0
    told = json.loads(ended.stdout)
    assert [case["outcome"] for case in told["cases"]] == ["passed", "not offered"]
    assert "I01 passed" in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["127.0.0.1:8000"], "no address of a server"),
        (["http://127.0.0.1:9"], "Nothing answers"),
        (["http://127.0.0.1:9", "--only", "I77"], "no case I77"),
    ],
)
def test_what_cannot_be_run_is_told_in_one_line(arguments, words):
    ended = _command(*arguments)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_reference_lists_every_case_and_option():
    """docs/reference/conformance.md is what people build their fixture from."""
    page = (_ROOT / "docs/reference/conformance.md").read_text()

    missing = [c.id for c in CASES if f"| {c.id} | {c.title} | {c.tier} |" not in page]
    options = re.findall(r"^  (--[a-z-]+)", _command("--help").stdout, re.MULTILINE)
    assert not missing
    assert options
    assert not [option for option in options if f"| `{option}" not in page]
