"""Something that is wrong, and somebody who is told: a real web server, the log, signals, mail."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import django
import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from reliable_effects import signals
from reliable_effects.clock import DbNow, moved
from reliable_effects.outbox import sweeps
from reliable_effects.outbox.models import Sweep
from reliable_effects.watch.alerts import evaluate
from tests.forgetting import forget_everything

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)


def send_mail_through(settings, backend: str) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


ADMINS = [("Ada", "ada@example.com")] if django.VERSION < (6,) else ["ada@example.com"]


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    forget_everything()
    yield
    forget_everything()


def ago(span: timedelta) -> DbNow:
    return DbNow() - span


def all_have_swept(using: str = "default") -> None:
    for name in sweeps.periods():
        Sweep.objects.using(using).update_or_create(name=name, defaults={"ran_at": DbNow()})


def turn(after: timedelta = timedelta(0)) -> None:
    """One turn of the alerts; every sweep has just run then."""
    with moved(after):
        all_have_swept()
        evaluate("default")


def hangs(using: str, table: str = "sweep") -> Iterator[BaseDatabaseWrapper]:
    """Somebody else has locked a table there and does not let go, until the connection is closed."""
    lock = {
        "postgresql": f"BEGIN; LOCK TABLE reliable_effects_{table} IN ACCESS EXCLUSIVE MODE",
        "mysql": f"LOCK TABLES reliable_effects_{table} WRITE",
    }
    if connections[using].vendor not in lock:
        pytest.skip("a file does not hang")
    other = connections[using].copy()
    with other.cursor() as cursor:
        cursor.execute(lock[other.vendor])
    yield other
    other.close()


@dataclass
class Told:
    """What came by each channel."""

    caplog: pytest.LogCaptureFixture
    signals: list[tuple[str, dict]] = field(default_factory=list)

    @property
    def records(self) -> list[logging.LogRecord]:
        return [r for r in self.caplog.records if r.name == "reliable_effects"]

    @property
    def log(self) -> list[str]:
        return [r.getMessage() for r in self.records if r.getMessage().startswith("alert ")]


@pytest.fixture
def told(caplog) -> Iterator[Told]:
    caplog.set_level(logging.INFO, logger="reliable_effects")
    heard = Told(caplog)

    def raised(sender, **facts) -> None:  # noqa: ARG001  # Django's signature
        heard.signals.append(("raised", facts))

    def resolved(sender, **facts) -> None:  # noqa: ARG001  # Django's signature
        heard.signals.append(("resolved", facts))

    signals.alert_raised.connect(raised)
    signals.alert_resolved.connect(resolved)
    yield heard
    signals.alert_raised.disconnect(raised)
    signals.alert_resolved.disconnect(resolved)


class Webhook(ThreadingHTTPServer):
    """Writes down what is posted to it, and answers as it is told to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: list[dict] = []
        self.answer = 200
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/secret-path"


class _Handler(BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.may_answer.wait(20)
        self.server.posted.append(json.loads(body))
        self.send_response(self.server.answer)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def webhook(settings) -> Iterator[Webhook]:
    with Webhook() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "ALERT_WEBHOOK": server.url}
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join(20)
