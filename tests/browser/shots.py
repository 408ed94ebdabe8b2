"""
The pictures of the documentation, from the fixtures of the browser's tests: `make screenshots`.

They are written into docs/_static/screens; pytest collects this file only where it is named.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from reliable_effects.console.groups import triage
from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.outbox.pausing import pause
from tests.docs.pages import DOCS, ROOT
from tests.shop.events import order_placed, order_seen
from tests.shop.models import Order

from .behind import behind
from .driver import expect
from .history import a_day
from .pages import two_versions
from .shop import deliveries

SCREENS = DOCS / "_static" / "screens"
AT_MOST = 150_000  # bytes: who reads the docs on a phone waits for each

pytestmark = pytest.mark.django_db(transaction=True)

# Tracebacks name files of the machine that the pictures were taken on.
_ANYWHERE = """([here, there]) => {
  for (const text of document.querySelectorAll("pre, dd"))
    if (!text.children.length) text.textContent = text.textContent.replaceAll(here, there);
}"""
_ADMIN = "/admin/reliable_effects"


@pytest.fixture(autouse=True)
def _one_zone(settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


def shot(page: Any, name: str, height: int, begin: str = "") -> None:
    """*height* pixels of what is seen, from the top of the page, or from the place *begin*."""
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_load_state("networkidle")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("Promise.all(document.getAnimations().map(each => each.finished))")
    page.evaluate(_ANYWHERE, [str(ROOT), "/srv/shop"])
    if begin:
        page.locator(begin).evaluate("place => place.scrollIntoView()")
    SCREENS.mkdir(parents=True, exist_ok=True)
    file = SCREENS / f"{name}.png"
    page.screenshot(path=file)
    assert file.stat().st_size <= AT_MOST, f"{file} is too big: cut it, or show less"


def test_the_night(shop, look):
    """Overview, group, preview and operation."""
    shop.pass_time(timedelta(minutes=-20))  # so that later steps are not ahead of the web process
    shop.fall_into_trouble()
    behind(a_day)()
    page = look()
    shot(page, "overview", height=860)
    page.emulate_media(color_scheme="dark")
    shot(page, "overview-dark", height=860)
    page.emulate_media(color_scheme="light")

    behind(triage.acknowledge)(
        FailureGroup.objects.all(),
        by="ada",
        note="The courier says 'shipment' since 02:00. Their hotline knows.",
    )
    group = behind(FailureGroup.objects.get)()
    page.goto(f"{_ADMIN}/failuregroup/{group.pk}/change/")
    shot(page, "group", height=1250)

    page.get_by_role("link", name="Redrive…").click()
    page.get_by_label("Reason:").fill("The courier is back")
    shot(page, "redrive-preview", height=840)

    shop.courier.is_mended = True
    page.get_by_role("button", name="Redrive gradually").click()
    shop.go_on(turns=3)
    page.get_by_role("link", name="Refresh").click()
    expect(page.locator("#content")).to_contain_text("went well")
    shot(page, "redrive-operation", height=1080)


def test_one_delivery(shop, look):
    """Somebody tries one before they redrive them all."""
    shop.fall_into_trouble(count=3, given_back=0)
    page = look()
    page.goto(f"{_ADMIN}/delivery/{behind(deliveries().latest)('pk').pk}/change/")
    page.get_by_role("button", name="Redrive…").click()
    page.get_by_label("Reason:").fill("The courier is back: one first")
    page.get_by_role("button", name="Redrive").click()
    shop.courier.is_mended = True
    shop.work()
    page.goto(f"{_ADMIN}/delivery/{behind(deliveries().latest)('pk').pk}/change/")
    shot(page, "delivery", height=760, begin="#re-timeline-title")


def test_what_is_declared(shop, look):
    """The page of effects, with one that somebody has paused."""
    shop.fall_into_trouble(count=40)
    behind(pause)("shop.send_receipt", by="ada", why="the mail provider sends each mail twice")
    shot(look(f"{_ADMIN}/effectcontrol/"), "effects", height=760)


def test_an_order(shop, look):
    """A page of the project's own."""
    shop.fall_into_trouble(count=3, given_back=0)
    order = behind(_place)()
    shop.work()
    shot(look(f"/admin/shop/order/{order.pk}/change/", who="root"), "order", height=720)


def _place() -> Order:
    with transaction.atomic():
        order = Order.objects.create()
        order_seen.emit(order, {})
        order_placed.emit(order)
    return order


def test_a_report(shop, look):  # noqa: ARG001  # its effects
    """Two versions beside each other."""
    row = behind(two_versions)()
    shot(look(f"{_ADMIN}/report/{row.pk}/compare/2/", who="root"), "report-compare", height=720)
