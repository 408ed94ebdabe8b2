"""Pages in the one Chromium of all tests, and the cookies of who looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.conf import settings as project
from django.contrib.auth.models import User
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from tests.conftest import not_tested
from tests.services import Chromium, Given
from tests.services.server import Missing

from .driver import installed, sync_playwright


def opened(chromium: Chromium | Given) -> Iterator[Any]:
    """
    What a fixture yields: a browser, for one test.

    The fixture asks for all that ask the database in their own thread, and so begins after them
    and ends before them: Playwright runs a loop meanwhile, which `behind` tells more of.
    """
    try:
        installed()
    except Missing as missing:
        not_tested(missing)
    with sync_playwright() as playwright:
        browser = playwright.chromium.connect_over_cdp(chromium.url)
        yield browser
        for context in browser.contexts[1:]:  # the first is Chromium's own
            context.close()
        browser.close()


def served(settings: Any) -> Iterator[LiveServer]:
    """
    What a fixture yields: our pages, from a project that lets them load nothing but its own files.

    pytest-django's own server lives as long as the session, and a server reads MIDDLEWARE once.
    """
    settings.MIDDLEWARE = ["tests.console.overview.csp.default_src_self", *project.MIDDLEWARE]
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


def cookie_of(user: User, url: str) -> dict[str, Any]:
    """Logs *user* in on the site at *url*."""
    client = Client()
    client.force_login(user)
    return {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": url}
