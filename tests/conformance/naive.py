"""
Fixture servers that get it wrong, so that each case is seen to fail.

`Forgetful` knows no keys: every request runs. `Hoarder` knows nothing else: it runs a new request
twice and gives its first answer to whoever sends that key, whatever they ask.
"""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, Self
from urllib.parse import parse_qs, urlsplit

ROUTES = {
    *("echo", "status", "slow", "large", "optional", "strict", "json", "kept", "first", "upload"),
    *("binary", "stream", "cookie", "db", "raise", "raise-once", "outlive", "foreign", "brief"),
    *("forgetful", "members", "secret"),
}


@dataclass
class Lane:
    runs: int = 0
    rows: int = 0
    armed: str = ""


@dataclass
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


class _Dies(Exception):
    """The worker is killed: the connection ends."""


class Forgetful:
    """`with Forgetful(routes) as server`: *routes* are those offered beside the controls."""

    def __init__(self, routes: set[str] = ROUTES) -> None:
        self.routes = routes
        self.lanes: dict[str, Lane] = defaultdict(Lane)
        self.lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"app": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._server.request_queue_size = 64
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def guarded(self, request: _Handler, lane: Lane, path: str, query: dict[str, str]) -> Answer:
        return self.run(request, lane, path, query)

    def run(  # noqa: PLR0911  # a table
        self, request: _Handler, lane: Lane, path: str, query: dict[str, str]
    ) -> Answer:
        with self.lock:
            lane.runs += 1
            number = lane.runs
        route, _, code = path.partition("/")
        match route:
            case "status" | "kept":
                return Answer(int(code), f"status:{code}".encode())
            case "first":
                return Answer(int(code) if number == 1 else 201, b"")
            case "slow" | "outlive":
                milliseconds = int(query.get("ms", "500"))
                time.sleep(milliseconds / 1000)
                lane.rows += 1
                return Answer(200 if route == "slow" else 201, f"slept:{milliseconds}".encode())
            case "large":
                return Answer(200, b"x" * int(query["bytes"]))
            case "binary" | "stream":
                return Answer(200, b"\x00\xff")
            case "cookie":
                return Answer(200, b"signed in", {"Set-Cookie": "sid=session-secret"})
            case "secret":
                return Answer(200, request.headers.get("Cookie", "").encode())
            case "db" | "raise" | "raise-once" | "foreign":
                lane.rows += 1
                crash, lane.armed = lane.armed, ""
                if crash and not crash.startswith("raise"):
                    raise _Dies
                is_bad = route == "raise" or (route == "raise-once" and number == 1) or crash
                return Answer(500 if is_bad else 201, str(lane.rows).encode())
        return Answer(201, request.body)


class Hoarder(Forgetful):
    def __init__(self, routes: set[str] = ROUTES) -> None:
        super().__init__(routes)
        self.answers: dict[str, Answer] = {}

    def guarded(self, request: _Handler, lane: Lane, path: str, query: dict[str, str]) -> Answer:
        key = request.headers.get("Idempotency-Key", "")
        if key not in self.answers:
            if path != "counter":
                self.run(request, lane, path, query)
            self.answers[key] = self.run(request, lane, path, query)
        found = self.answers[key]
        return Answer(found.status, found.body, found.headers | {"Idempotency-Replayed": "true"})

    def run(self, request: _Handler, lane: Lane, path: str, query: dict[str, str]) -> Answer:
        if path == "counter":
            return Answer(200, json.dumps({"count": lane.runs}).encode())
        return super().run(request, lane, path, query)


class _Handler(BaseHTTPRequestHandler):
    app: ClassVar[Forgetful]
    body = b""

    def do_POST(self) -> None:
        self.body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            self._say(self._answer())
        except _Dies:
            self.close_connection = True

    do_PUT = do_GET = do_POST  # noqa: N815  # names of the standard library

    def log_message(self, *_: object) -> None:
        """Nothing: pytest shows what is wrong."""

    def _answer(self) -> Answer:  # noqa: C901, PLR0911  # a table
        parts = urlsplit(self.path)
        path = parts.path.strip("/")
        lane = self.app.lanes["main"]
        if path.startswith("lanes/"):
            _, name, path = path.split("/", 2)
            lane = self.app.lanes[name]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        match path:
            case "reset":
                lane.runs = 0
            case "arm":
                lane.armed = query["crash"]
            case "login":
                return Answer(204, b"", {"Set-Cookie": query["user"]})
            case "revoke":
                pass
            case "rows":
                return Answer(200, json.dumps({"rows": lane.rows, "effects": lane.rows}).encode())
            case "runs":
                return Answer(200, json.dumps({"count": lane.runs}).encode())
            case "store":
                return Answer(200, b"")
            case "counter" if "Idempotency-Key" not in self.headers or not isinstance(
                self.app, Hoarder
            ):
                return Answer(200, json.dumps({"count": lane.runs}).encode())
            case _ if path == "counter" or path.partition("/")[0] in self.app.routes:
                return self.app.guarded(self, lane, path, query)
            case _:
                return Answer(404, b"")
        return Answer(204, b"")

    def _say(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if answer.status != 204:
            self.wfile.write(answer.body)
