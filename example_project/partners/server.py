"""
The partners on a socket.

    POST /<partner>              a call; needs an Idempotency-Key header and a JSON object
    GET  /payment/find?key=      what became of a payment: 200 with the charge, or 404
    GET  /ledger                 every arrival (?partner=, ?order=, ?last=)
    GET  /webhooks               what the partners tell the shop, and how often they tried
    GET, POST or PUT /behaviour  how the partners (mis)behave
    GET  /                       a page for people (?order=); its buttons POST there
"""

from __future__ import annotations

import json
import socket
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from example_project.partners import page
from example_project.partners.behaviour import Behaviours, Mood
from example_project.partners.ledger import NO_ANSWER, Ledger
from example_project.partners.webhooks import Webhooks

PARTNERS = (
    "payment",
    "mail",
    "warehouse",
    "crm",
    "analytics",
    "search",
    "giftwrap",
    "labels",
    "carrier",
)
_LONGEST_BODY = 64 * 1024  # bytes


class PartnersServer(ThreadingHTTPServer):
    """One thread per connection, all of them writing to one ledger."""

    daemon_threads = True
    request_queue_size = 128  # the default of 5 refuses connections under a burst

    def __init__(
        self,
        address: tuple[str, int],
        ledger: Ledger,
        behaviours: Behaviours,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.ledger = ledger
        self.webhooks = webhooks
        self.behaviours = behaviours
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing where the caller went away: workers are killed in the middle of a call."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: PartnersServer
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds a connection may stay silent

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        raw = self._read()
        if raw is None:
            return
        if url.path == "/":
            self._press(raw)
            return
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "The body must be a JSON object."})
        elif url.path == "/behaviour":
            self._behave(body)
        elif (partner := url.path.strip("/")) in PARTNERS:
            self._call(partner, body)
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": f"No partner is called {partner!r}."})

    def do_PUT(self) -> None:
        self.do_POST()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(url.query).items()}
        match url.path:
            case "/":
                self._send(
                    HTTPStatus.OK,
                    "text/html; charset=utf-8",
                    self._page(query.get("order", "")).encode(),
                )
            case "/ledger":
                last = int(query["last"]) if query.get("last", "").isdigit() else None
                self._answer(
                    HTTPStatus.OK,
                    {
                        "arrivals": self.server.ledger.arrivals(
                            partner=query.get("partner", ""),
                            reference=query.get("order", ""),
                            last=last,
                        )
                    },
                )
            case "/payment/find":
                found = self.server.ledger.find("payment", query.get("key", ""))
                if found is None:
                    self._answer(HTTPStatus.NOT_FOUND, {"error": "No payment under this key."})
                else:
                    self._answer(HTTPStatus.OK, found)
            case "/webhooks":
                told = self.server.webhooks
                messages = told.messages() if told is not None else []
                self._answer(HTTPStatus.OK, {"messages": messages})
            case "/behaviour":
                self._answer(HTTPStatus.OK, self.server.behaviours.as_json())
            case _:
                self._answer(HTTPStatus.NOT_FOUND, {"error": "There is nothing here."})

    def _call(self, partner: str, body: dict[str, Any]) -> None:
        key = self.headers.get("Idempotency-Key", "")
        if not key:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": "Send an Idempotency-Key header."})
            return
        ledger = self.server.ledger
        mood, wait = self.server.behaviours.decide(partner)
        time.sleep(wait)
        if mood is Mood.FAIL:
            ledger.refuse(partner, key, body, status=500)
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": f"{partner} fell over."})
        elif mood is Mood.BUSY:
            ledger.refuse(partner, key, body, status=429)
            self._answer(
                HTTPStatus.TOO_MANY_REQUESTS,
                {"error": f"{partner} is busy."},
                {"Retry-After": str(self.server.behaviours.retry_after(partner))},
            )
        elif mood is Mood.DROP:
            self._tell(partner, body, ledger.apply(partner, key, body, status=NO_ANSWER))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            answer = ledger.apply(partner, key, body)
            self._answer(HTTPStatus.OK, answer)
            self._tell(partner, body, answer)

    def _tell(self, partner: str, body: dict[str, Any], answer: dict[str, Any]) -> None:
        if self.server.webhooks is not None:
            self.server.webhooks.after(partner, body, answer)

    def _behave(self, body: dict[str, Any]) -> None:
        try:
            self.server.behaviours.change(body)
        except (ValueError, TypeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return
        self._answer(HTTPStatus.OK, self.server.behaviours.as_json())

    def _press(self, raw: bytes) -> None:
        """A button of the page was pressed."""
        form = {name: values[-1] for name, values in parse_qs(raw.decode("latin-1")).items()}
        try:
            self.server.behaviours.change({form["partner"]: json.loads(form["behaviour"])})
        except (KeyError, ValueError, TypeError) as error:
            self._answer(HTTPStatus.BAD_REQUEST, {"error": str(error)})
            return
        self._send(HTTPStatus.SEE_OTHER, "text/plain", b"", {"Location": "/"})

    def _page(self, order: str) -> str:
        ledger = self.server.ledger
        return page.render(
            behaviours=self.server.behaviours.as_json(),
            counts=ledger.counts(),
            arrivals=ledger.arrivals(reference=order, last=40),
            order=order,
        )

    def _read(self) -> bytes | None:
        """Return the body; where it is too long, answer that and return None."""
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _LONGEST_BODY:
            self.close_connection = True  # the body stays unread
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {"error": "The body is too long."})
            return None
        return self.rfile.read(int(length))

    def _answer(
        self, status: HTTPStatus, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self._send(status, "application/json", json.dumps(body).encode(), headers)

    def _send(
        self, status: HTTPStatus, kind: str, body: bytes, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Write no access log: the ledger is one."""
