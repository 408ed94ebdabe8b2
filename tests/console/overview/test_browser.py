"""The overview in a browser that runs nothing but files of this site; skipped where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from reliable_effects.console.rollups.models import QueueRollup
from tests.browser.behind import behind
from tests.browser.driver import expect
from tests.browser.opening import cookie_of, opened, served
from tests.console.overview.conftest import OVERVIEW

EVERY = 15_000  # milliseconds between two reads: overview.js

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.one_database,  # a browser asks none
]


@pytest.fixture
def live_server(settings: Any, transactional_db: None) -> Iterator[Any]:  # noqa: ARG001  # its rows
    yield from served(settings)


@pytest.fixture
def browser(logged_in, chromium) -> Iterator[Any]:  # noqa: ARG001  # before: see `behind`
    yield from opened(chromium)


@pytest.fixture(autouse=True)
def _a_day_later(a_day, stands) -> None:
    a_day()
    stands(due=7)


@pytest.fixture
def logged_in(live_server) -> dict[str, Any]:
    """The cookie of one who may see everything."""
    return cookie_of(User.objects.create_superuser("ada"), live_server.url)


@pytest.fixture
def problems() -> list[str]:
    return []


@pytest.fixture
def page(browser, live_server, logged_in, problems) -> Any:
    """The overview; its clock goes as a test says."""
    context = browser.new_context(viewport={"width": 900, "height": 600})
    context.add_cookies([logged_in])
    page = context.new_page()
    page.on("console", lambda said: problems.append(said.text) if said.type != "log" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.clock.install()
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.goto(f"{live_server.url}{OVERVIEW}")
    return page


@behind
def later(**columns: Any) -> None:
    """The queue is seen as it stands now."""
    QueueRollup.objects.filter(due=7).update(**columns)


def due(page: Any) -> str:
    return page.locator(".re-tile", has_text="Backlog").locator(".re-figure").inner_text()


def now_due(page: Any, figure: str) -> None:
    tile = page.locator(".re-tile", has_text="Backlog").locator(".re-figure")
    expect(tile).to_have_text(figure)


def test_it_refreshes_itself_and_takes_nothing_from_its_reader(page, problems):
    """The figures change; focus, scroll and what is open stay, and nothing is refused."""
    summary = page.locator("details summary").nth(1)
    summary.click()
    summary.focus()
    before = page.evaluate("window.scrollY")
    assert before > 0
    later(due=8)

    page.clock.fast_forward(EVERY)

    now_due(page, "8")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"
    assert page.locator("details[open]").count() == 1
    assert page.evaluate("window.scrollY") == before
    assert problems == []


def test_it_stands_still_while_it_is_paused(page, problems):
    """Who reads aloud, or slowly, decides."""
    page.get_by_role("button", name="Pause refreshing").click()
    later(due=8)
    page.clock.fast_forward(3 * EVERY)

    # Were it under way, it would come before the answer to what is asked for now.
    assert due(page) == "7"
    page.get_by_role("button", name="Resume refreshing").click()

    now_due(page, "8")
    assert problems == []


def test_it_says_so_where_it_cannot_be_refreshed(page):
    """Old figures are not told as new ones."""
    page.route(f"**{OVERVIEW}", lambda route: route.abort())
    page.clock.fast_forward(EVERY)

    note = page.locator("#re-note")
    expect(note).to_contain_text("could not be refreshed")


def test_who_is_logged_out_meanwhile_is_told(page):
    """And nobody asks for a login page every 15 seconds."""
    page.context.clear_cookies()
    page.clock.fast_forward(EVERY)

    expect(page.locator("#re-note")).to_contain_text("log in again")
    expect(page.get_by_role("button", name="Pause refreshing")).to_be_hidden()
    assert due(page) == "7"


def test_without_javascript_it_reloads_by_itself(browser, live_server, logged_in):
    """And its links do what the script would."""
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies([logged_in])
    page = context.new_page()

    page.goto(f"{live_server.url}{OVERVIEW}")

    assert page.locator("#re-pause").is_hidden()
    page.get_by_role("link", name="Stop that").click()
    assert page.url.endswith("?refresh=no")
    assert page.get_by_role("link", name="Refresh now").is_visible()
