"""
The shop's weekly usage report over a million rows, from the sweep to the customer.

`python -m benchmarks.report_million [rows]`: PostgreSQL, a web server and `effects_worker`, each a
process of its own. The worker's sweep asks for the build; the customer reads it over HTTP. The peak is
the kernel's (VmHWM) of the process that built, less what it had before.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from example_project.processes import Fleet, Process, free_port, listens, says, until
from tests.services import Postgres

ROWS = int(sys.argv[1]) if sys.argv[1:] else 1_000_000
AT_MOST = 150 * 1024  # kB of growth: what the issue asks for
PATIENCE = 600  # seconds


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Postgres() as postgres, Fleet() as fleet:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "example_project.settings",
            "DEMO_DIR": folder,
            "DATABASE_URL": postgres.url.replace("/reliable_effects", "/postgres"),
            "BROKER_URL": "",
        }
        import django  # noqa: PLC0415  # after the environment

        django.setup()
        customer = _fill()
        port = free_port()
        web = ["runserver", "--noreload", f"127.0.0.1:{port}"]
        fleet.start(_manage("web", folder, *web, ready=listens(port)))
        fleet.wait_until_ready()
        address, cookie = f"http://127.0.0.1:{port}/reports/usage/", _session(customer)
        worker = fleet.start(
            _manage("worker", folder, "effects_worker", "--processes", "1", ready=says("stops"))
        )
        worker.wait_until_ready()
        _watch(customer, worker, address, cookie)
        _read(customer, address, cookie)


def _manage(name: str, folder: str, *arguments: str, **more: Any) -> Process:
    command = [sys.executable, "-m", "example_project.manage", *arguments]
    return Process(name, command, logs=Path(folder) / "logs", **more)


def _fill() -> Any:
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    customer = User.objects.create_user("ann")
    begun = time.perf_counter()
    with connection.cursor() as cursor:
        # Spread over the week so far, in no order.
        cursor.execute(
            "INSERT INTO shop_usage (customer_id, at, what, units)"
            " SELECT %s, now() - random() * (now() - date_trunc('week', now())), 'orders',"
            " 1 + (random() * 99)::int FROM generate_series(1, %s)",
            [customer.pk, ROWS],
        )
        cursor.execute("ANALYZE shop_usage")
    print(f"{ROWS:,} rows filled in {time.perf_counter() - begun:.1f} s")
    return customer


def _session(customer: Any) -> str:
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY  # noqa: PLC0415
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415

    session = SessionStore()
    session[SESSION_KEY] = str(customer.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = customer.get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


def _row(customer: Any) -> Any:
    from example_project.shop.reports import monday_of  # noqa: PLC0415
    from reliable_effects.models import Report  # noqa: PLC0415

    week = monday_of(time_now().date()).isoformat()
    rows = Report.objects.select_related("current").filter(name="shop.usage_of_week")
    return next((r for r in rows if r.parameters == {"customer": customer.pk, "week": week}), None)


def time_now() -> Any:
    from django.utils import timezone  # noqa: PLC0415

    return timezone.now()


def _watch(customer: Any, worker: Process, address: str, cookie: str) -> None:
    """Until it is built; nobody asks for it but the sweep."""
    first: dict[int, int] = {}
    peak: dict[int, int] = {}
    told: dict[str, Any] = {}
    for _ in until(PATIENCE, pause=0.25):
        for pid in worker.children():
            first.setdefault(pid, _kilobytes(pid, "VmRSS"))
            peak[pid] = max(peak.get(pid, 0), _kilobytes(pid, "VmHWM"))
        row = _row(customer)
        if row is not None and row.current is not None:
            break
        if row is not None and told.get("rows", 0) <= 1:
            told = _status(address, cookie)
    else:
        raise SystemExit(f"not built within {PATIENCE} s\n{worker.last_lines(40)}")
    version = row.current
    if version.rows != ROWS:
        raise SystemExit(f"{version.rows} rows of {ROWS}")
    grown = max(peak[pid] - first[pid] for pid in peak)
    seconds = (version.finished_at - version.started_at).total_seconds()
    print(f"asked for by the sweep; midway a customer was told {json.dumps(told)}")
    print(f"built in {seconds:.1f} s: {version.rows:,} rows, {version.size / 1e6:.1f} MB")
    print(f"the process that built grew by {grown / 1024:.1f} MB")
    if grown > AT_MOST:
        raise SystemExit(f"more than {AT_MOST // 1024} MB")


def _status(address: str, cookie: str) -> dict[str, Any]:
    with _open(address, cookie) as answer:
        told: dict[str, Any] = json.loads(answer.read()) if answer.status == 202 else {}  # noqa: PLR2004  # being built
        return told


def _read(customer: Any, address: str, cookie: str) -> None:
    begun = time.perf_counter()
    with _open(address, cookie) as answer:
        begin = answer.read(1)
        first = time.perf_counter() - begun
        digest, size = hashlib.sha256(begin), len(begin)
        while chunk := answer.read(1024 * 1024):
            digest.update(chunk)
            size += len(chunk)
    seconds = time.perf_counter() - begun
    version = _row(customer).current
    if digest.hexdigest() != version.sha256:
        raise SystemExit("the customer got other bytes than were built")
    print(
        f"read by the customer: first byte after {first * 1000:.0f} ms, {size / 1e6:.1f} MB in {seconds:.1f} s"
    )
    try:
        with _open(address, "") as answer:
            raise SystemExit(f"a stranger got {answer.status}")
    except urllib.error.HTTPError as error:
        print(f"a stranger got {error.code}")


def _open(address: str, cookie: str) -> Any:
    return urllib.request.urlopen(  # noqa: S310  # our own server
        urllib.request.Request(address, headers={"Cookie": cookie}),  # noqa: S310
        timeout=PATIENCE,
    )


def _kilobytes(pid: int, name: str) -> int:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])
    except FileNotFoundError:
        pass  # it ended meanwhile
    return 0


if __name__ == "__main__":
    main()
