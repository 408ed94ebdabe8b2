"""Who was told looks here for what lasts."""

from __future__ import annotations

import pytest

from reliable_effects.watch.models import Alert
from tests.admin.conftest import log_in  # noqa: F401  # a fixture
from tests.outbox.conftest import poisoned_delivery
from tests.watch.conftest import MINUTE, turn

pytestmark = pytest.mark.django_db

ALERTS = "/admin/reliable_effects/alert/"


@pytest.fixture
def viewer(log_in):  # noqa: F811  # the fixture
    return log_in("view_alert")


def test_what_lasts_and_what_is_over_are_told_apart(viewer):
    """The first is tonight's work."""
    row = poisoned_delivery("shop.wrap")
    turn()
    row.delete()
    poisoned_delivery("shop.charge_card")
    turn(6 * MINUTE)

    lasts = viewer.get(ALERTS, {"state": "lasts"}).content.decode()
    every = viewer.get(ALERTS).content.decode()

    assert "1 poisoned shop.charge_card" in lasts
    assert "1 poisoned shop.wrap" not in lasts
    assert every.index("poisoned shop.charge_card") < every.index("poisoned shop.wrap")


def test_a_page_says_who_is_owed_the_telling(viewer):
    """A chat that was down, for one."""
    alert = Alert.objects.create(rule="late", subject="<script>", text="<script>", untold="mail")

    page = viewer.get(f"{ALERTS}{alert.pk}/change/").content.decode()

    assert "mail" in page
    assert "&lt;script&gt;" in page


def test_not_even_a_superuser_can_change_one(admin_client):
    """It ends when what is wrong has ended."""
    alert = Alert.objects.create(rule="late", subject="effects", text="x")

    answers = [
        admin_client.get(f"{ALERTS}add/").status_code,
        admin_client.post(f"{ALERTS}{alert.pk}/change/", {"text": "y"}).status_code,
        admin_client.post(f"{ALERTS}{alert.pk}/delete/", {"post": "yes"}).status_code,
    ]

    assert answers == [403, 403, 403]
    assert Alert.objects.get().text == "x"


def test_who_may_not_see_alerts_sees_none(log_in):  # noqa: F811  # the fixture
    """They name effects and queues."""
    assert log_in("view_sweep").get(ALERTS).status_code == 403
