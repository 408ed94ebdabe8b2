"""
Two releases of this package at work on the same tables: the last tagged one beside this one.

Until there is a tag, the first commit of a whole core stands for it.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.states import State
from tests.faults.releases.conftest import ROOT, owed
from tests.waiting import eventually

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]

FIRST_CORE = "d2217cb"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier release's source; TEST_PREVIOUS_RELEASE names another commit."""
    tag = _git("describe", "--tags", "--abbrev=0", "HEAD^")
    name = os.environ.get("TEST_PREVIOUS_RELEASE") or tag.decode().strip() or FIRST_CORE
    archive = _git("archive", name, "reliable_effects")
    if not archive:
        pytest.skip(f"this clone does not hold {name}, the release before")
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    return folder


@pytest.fixture(params=["newer web", "newer worker"])
def packages(before: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """Where the web process and the worker find the package."""
    return (ROOT, before) if request.param == "newer web" else (before, ROOT)


def _git(*arguments: str) -> bytes:
    """What git said; nothing where it failed."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


@pytest.mark.fault("this package's last release runs beside this one", rows="D11")
def test_either_release_carries_out_what_the_other_promised(
    packages, worker, place, outside, evidence
):
    """Migrated first, then web and workers in any order."""
    web, work = packages
    orders = place("yesterday", 20, package=web)
    with worker("yesterday", package=work):
        orders |= place("yesterday", 20, package=web)
        done = Delivery.objects.filter(state=State.SUCCEEDED)
        eventually(lambda: done.count() == 3 * 40, within=60)

    verdict = outside.judge(owed(orders, "receipt", "charge", "sync"))
    evidence.judged(verdict, strikes=40)
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
    assert set(Delivery.objects.values_list("attempts", flat=True)) == {1}


@pytest.mark.fault("two releases of this package work on one table at once", rows="D11")
def test_both_releases_share_the_work(before, worker, place, outside, evidence):
    """The middle of a deploy."""
    with worker("yesterday", package=before), worker("yesterday"):
        orders = place("yesterday", 60)
        done = Delivery.objects.filter(state=State.SUCCEEDED)
        eventually(lambda: done.count() == 3 * 60, within=90)

    verdict = outside.judge(owed(orders, "receipt", "charge", "sync"))
    evidence.judged(verdict, strikes=60)
    assert (verdict.extra_runs, verdict.other_keys) == (0, 0)
