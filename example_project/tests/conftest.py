"""Real partners on a real socket, one server for all tests, each test with an empty memory of it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import requests
from django.db import connections

from example_project.partners.behaviour import Behaviours
from example_project.partners.ledger import Ledger
from example_project.partners.server import PARTNERS, PartnersServer
from example_project.partners.webhooks import Webhooks


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None,  # noqa: ARG001  # extended
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A file: to threads that share SQLite's memory it says "locked" where a file makes them wait."""
    default = connections.settings["default"]
    if default["ENGINE"].endswith("sqlite3"):
        default["TEST"]["NAME"] = str(tmp_path_factory.mktemp("shop") / "test.sqlite3")


class Partners:
    """What a test says to the partners, and asks of them."""

    def __init__(self, server: PartnersServer) -> None:
        self._server = server
        self.url = f"http://127.0.0.1:{server.server_port}"

    def tell_through(self, webhooks: Webhooks) -> None:
        self._server.webhooks = webhooks

    def behave(self, **wanted) -> requests.Response:
        return requests.post(f"{self.url}/behaviour", json=wanted, timeout=5)

    def call(self, partner: str, key: str | None = "key", **body) -> requests.Response:
        headers = {} if key is None else {"Idempotency-Key": key}
        return requests.post(f"{self.url}/{partner}", json=body, headers=headers, timeout=5)

    def get(self, path: str) -> requests.Response:
        return requests.get(f"{self.url}/{path}", timeout=5)

    def arrivals(self, **query: str) -> list[dict]:
        answer = requests.get(f"{self.url}/ledger", params=query, timeout=5)
        return answer.json()["arrivals"]

    def applied(self, reference: str) -> list[str]:
        """Which partners have done something for this order."""
        return sorted(a["partner"] for a in self.arrivals(order=reference) if a["applied"])


@pytest.fixture
def partners(tmp_path: Path, settings):
    ledger = Ledger(tmp_path / "partners.sqlite3")
    server = PartnersServer(("127.0.0.1", 0), ledger, Behaviours(PARTNERS, seed=1))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    partners = Partners(server)
    settings.PARTNERS_URL = partners.url
    yield partners
    server.shutdown()
    thread.join()
    server.server_close()
    ledger.close()
