"""A browser, people who look at the admin with it, and a shop in trouble."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User

from reliable_effects.effects.registry import registry
from tests.forgetting import forget_everything
from tests.shop.effects import charge_card

from .opening import cookie_of, opened, served
from .permissions import group
from .shop import Shop

OVERVIEW = "/admin/reliable_effects/"


@pytest.fixture(autouse=True)
def _project(settings, monkeypatch, tmp_path) -> None:
    """A project that names its releases and stores reports."""
    settings.ROOT_URLCONF = "tests.browser.urls"
    settings.RELIABLE_EFFECTS = {
        "TRANSPORT": "none",
        "RELEASE": "2027.14",
        "REPORT_STORE": {
            "BACKEND": "reliable_effects.reports.FileReportStore",
            "OPTIONS": {"location": str(tmp_path / "reports")},
        },
    }
    # Another effect of the tests' shop has an owed query too; here it is the courier's story.
    monkeypatch.setattr(charge_card, "owed_query", None)


@pytest.fixture
def shop(transactional_db, caplog) -> Iterator[Shop]:  # noqa: ARG001  # its rows
    caplog.set_level(logging.CRITICAL, "reliable_effects")  # hundreds of pills, a line for each
    forget_everything()
    with registry.scratch(), Shop() as shop:
        yield shop
    forget_everything()


@pytest.fixture
def live_server(settings, _project, shop) -> Iterator[Any]:  # noqa: ARG001  # gone before its rows
    yield from served(settings)


@pytest.fixture
def browser(shop, live_server, chromium) -> Iterator[Any]:  # noqa: ARG001  # end after it: `behind`
    yield from opened(chromium)


@pytest.fixture
def cookies(live_server, transactional_db) -> dict[str, dict[str, Any]]:  # noqa: ARG001  # its rows
    """Of an operator and of a superuser, who are logged in."""
    operator = group("operator")
    ada = User.objects.create_user("ada", is_staff=True)
    ada.user_permissions.set(Permission.objects.filter(codename__in=operator))
    assert ada.user_permissions.count() == len(operator)
    root = User.objects.create_superuser("root")
    return {user.username: cookie_of(user, live_server.url) for user in (ada, root)}


@pytest.fixture
def look(cookies, browser, live_server) -> Iterator[Callable[..., Any]]:
    """
    `look(address, who="ada", **context)`: a page that somebody has opened.

    At the end of the test no page has said anything on its console: nothing of it was refused.
    """
    said: list[str] = []

    def look(address: str = OVERVIEW, who: str = "ada", **context: Any) -> Any:
        options = {"viewport": {"width": 1300, "height": 900}, "base_url": live_server.url}
        opened = browser.new_context(**options | context)
        opened.add_cookies([cookies[who]])
        opened.set_default_timeout(20_000)
        page = opened.new_page()
        page.on("console", lambda line: said.append(f"{page.url}: {line.text}"))
        page.on("pageerror", lambda error: said.append(f"{page.url}: {error}"))
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.goto(address)
        return page

    yield look
    for context in browser.contexts:
        context.close()
    assert said == []
