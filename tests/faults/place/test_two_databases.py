"""
Two databases in one project, each with its own subjects, rows and sweeps.

An outage of one, refused or hanging, is no reason for the other to wait.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as project
from django.db import transaction

from reliable_effects.exceptions import OutsideTransaction
from reliable_effects.outbox import dispatch
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import State
from reliable_effects.outbox.sweeps import RESCUE
from tests.faults.place.aliases import Config, only_on_servers
from tests.faults.place.effects import call_back, promise, ring
from tests.outbox.conftest import expired_delivery
from tests.services import Proxy
from tests.shop.models import Order
from tests.waiting import eventually

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.one_database,  # the first is PostgreSQL
]

BOTH = ["default", "other"]


def all_succeeded(using: str) -> bool:
    return not Delivery.objects.using(using).exclude(state=State.SUCCEEDED).exists()


@pytest.mark.fault("two databases in one project", rows="D15")
def test_both_are_worked_and_swept_and_neither_sees_the_others_rows(
    outside, effects_worker, evidence
):
    """Ids are equal on both sides: only the alias tells them apart."""
    with effects_worker(TEST_SWEPT="default other"):
        committed = [promise(ring, 40, using=using) for using in BOTH]
        chained = promise(call_back, 5, using="other")
        for using in BOTH:
            eventually(lambda using=using: all_succeeded(using), within=60)
            eventually(
                lambda using=using: Sweep.objects.using(using).filter(name=RESCUE), within=20
            )

    times = [call.what for call in outside.calls()]
    expected = sorted([*committed[0], *committed[1], *chained])
    rung = [what.replace("call back", "ring") for what in chained]
    evidence.add(
        strikes=80,
        lost=len(set(expected) - set(times)),
        phantom=len(times) - len([*expected, *rung]),
    )
    assert sorted(times) == sorted([*expected, *rung])


@pytest.mark.fault("two databases in one project, hints that carry the alias", rows="D15 B8")
def test_hints_name_the_database(settings, evidence):
    """The same id on the other side is somebody else's row."""
    settings.RELIABLE_EFFECTS = {
        "TRANSPORT": "tests.faults.place.test_two_databases.keep",
        "DATABASES": BOTH,
    }
    kept.clear()

    for using in BOTH:
        promise(ring, 1, using=using)
    dispatch.flush()

    assert [hint["db"] for hint in kept] == BOTH
    for hint, using in zip(kept, BOTH, strict=True):
        assert Delivery.objects.using(using).filter(pk__in=hint["ids"]).count() == 1
        evidence.add()


kept: list[dict[str, Any]] = []


def keep(_queue: str, hint: dict[str, Any]) -> None:
    kept.append(hint)


@pytest.mark.fault("emit with another alias than the open transaction's", rows="D15")
def test_a_transaction_on_the_other_database_does_not_count(evidence):
    """Row and change would part ways."""
    with transaction.atomic(using="default"), pytest.raises(OutsideTransaction, match="other"):
        ring.promise(Order.objects.using("other").create(), using="other")

    lost = not Order.objects.using("other").exists()  # its own, autocommitted, change stands
    evidence.add(phantom=Delivery.objects.using("other").count(), lost=int(lost))


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with Proxy(int(project.DATABASES["other"]["PORT"])) as proxy:
        yield proxy


@pytest.fixture
def behind_proxy(proxy: Proxy) -> Config:
    other = {k: v for k, v in project.DATABASES["other"].items() if k != "TEST"}
    options = other["OPTIONS"] | {"connect_timeout": 2}
    return other | {"HOST": "127.0.0.1", "PORT": proxy.port, "OPTIONS": options}


@only_on_servers
@pytest.mark.fault("one of two databases is away", rows="D2 D5")
@pytest.mark.parametrize("mode", ["refuse", "freeze"])
@pytest.mark.parametrize("place", ["first", pytest.param("second", marks=pytest.mark.full)])
def test_an_outage_of_one_does_not_stop_the_other(  # noqa: PLR0917  # fixtures
    mode, place, proxy, behind_proxy, outside, effects_worker, evidence
):
    """Whichever is named first. What is owed in the one that is away is done when it is back."""

    aliases = "away default" if place == "first" else "default away"
    before = promise(ring, 3, using="other")
    proxy.mode = mode
    lost_worker = expired_delivery(ring)
    with effects_worker(TEST_SWEPT=aliases, TEST_ALIASES=json.dumps({"away": behind_proxy})):
        meanwhile = promise(ring, 20)
        eventually(lambda: all_succeeded("default"), within=60)
        lost_worker.refresh_from_db()
        seen_before = {call.what for call in outside.calls()}
        proxy.mode = "ok"
        eventually(lambda: all_succeeded("other"), within=60)

    rescued = f"ring {lost_worker.event.subject_pk}"
    assert lost_worker.state == State.SUCCEEDED
    done = [call.what for call in outside.calls()]
    evidence.add(
        lost=len({*before, *meanwhile, rescued} - set(done)),
        phantom=len(seen_before - {*meanwhile, rescued, *before}),
        extra_runs=len(done) - 24,
    )
    assert len(done) == 24
