"""A stock Celery worker with no beat tells what is wrong; and so does effects_worker."""

from __future__ import annotations

import pytest

from reliable_effects.outbox.models import Sweep
from reliable_effects.watch.models import Alert
from tests.outbox.conftest import poisoned_delivery
from tests.sweeps.conftest import spare_redis, start_worker  # noqa: F401  # fixtures
from tests.waiting import eventually
from tests.watch.conftest import HOUR, ago

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.one_database
def test_a_worker_raises_the_alarm_where_beat_is_dead(start_worker):  # noqa: F811  # the fixture
    """Beat did this sweep's work, and nobody noticed that it ended."""
    poisoned_delivery("shop.wrap")
    Sweep.objects.create(name="alerts", ran_at=ago(HOUR))

    start_worker()

    alert = eventually(
        lambda: Alert.objects.filter(rule="poisoned").exclude(last_told_at=None).first(), within=60
    )
    eventually(lambda: not Alert.objects.exclude(untold="").exists(), within=20)
    assert alert.subject == "shop.wrap"
