"""
`make conformance-peers`: the conformance suite against other packages and ours, as a table.

Each package gets an environment of its own in a temporary folder (--keep FOLDER to use it again),
a PostgreSQL, and a Redis where its documentation asks for one. --only NAME runs one of them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import reliable_effects.conformance.cases  # noqa: F401  # enters them
from example_project.processes import ROOT, Fleet, Process, listens
from reliable_effects.conformance import report
from reliable_effects.conformance.case import CASES, Options
from reliable_effects.conformance.client import Client
from reliable_effects.conformance.run import Outcome, Result, run
from tests.conformance.stage import VARIANTS, database_on, stage
from tests.services import Postgres, Redis, free_port, obtain

_TTL = 2.0  # seconds, for the case that waits for a key to be forgotten
_LONG = 3600.0
_PATIENCE = 10  # seconds that a retry after a killed worker is given; none of them has leases
_DRIVER = "psycopg[binary]"
_SERVER = ["gunicorn", "uvicorn"]


@dataclass(frozen=True)
class Peer:
    name: str
    version: str
    needs: tuple[str, ...]
    is_asgi: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} {self.version}"

    def command(self, python: Path, port: int) -> list[str]:
        bind = f"127.0.0.1:{port}"
        if self.is_asgi:
            app = "benchmarks.conformance_peers.asgi_site:application"
            return [str(python), "-m", "uvicorn", app, "--port", str(port), "--workers", "3"]
        app = "benchmarks.conformance_peers.django_site"
        workers = ["--workers", "3", "--threads", "8", "--preload", "--no-control-socket"]
        return [str(python), "-m", "gunicorn", app, "--bind", bind, *workers]


PEERS = [
    # Its documentation names Django up to 4.2.
    Peer(
        "django-idempotency-key",
        "1.3.0",
        ("django~=4.2.0", "djangorestframework", "redis", _DRIVER),
    ),
    Peer("drf-idempotencykey", "0.2.0", ("django~=5.2.0", "redis", _DRIVER)),
    Peer("asgi-idempotency-header", "0.2.0", ("fastapi", "redis"), is_asgi=True),
]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance_peers")
    parser.add_argument("--only", default="", metavar="NAME")
    parser.add_argument("--keep", type=Path, help="where the environments are, and stay")
    asked = parser.parse_args()
    table: dict[str, list[Result]] = {}
    with ExitStack() as left:
        folder = Path(left.enter_context(TemporaryDirectory(prefix="peers-")))
        redis = obtain(Redis)
        left.callback(redis.discard)
        postgres = obtain(Postgres)
        left.callback(postgres.discard)
        for peer in PEERS:
            if asked.only in ("", peer.name):
                print(f"\n===== {peer.title}", flush=True)
                python = _environment(peer, asked.keep or folder)
                told = {"PEER": peer.name, "REDIS_URL": redis.url}
                table[peer.title] = _results(peer, python, folder, told, postgres.url)
        if not asked.only:
            print("\n===== reliable_effects", flush=True)
            ours = folder / "ours"
            ours.mkdir()
            with stage("postgres", postgres.url, ours) as servers:
                table["reliable_effects"] = servers.run(VARIANTS[0], tell=_tell)
    _print_table(table)
    return 0


def _environment(peer: Peer, folder: Path) -> Path:
    """The Python that has *peer* and what it needs, and nothing of ours."""
    place = folder / f"{peer.name}-{peer.version}"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=120)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = [f"{peer.name}=={peer.version}", *peer.needs, *_SERVER]
    subprocess.run([*pip, *wanted], check=True, timeout=600)
    return python


def _results(
    peer: Peer, python: Path, folder: Path, told: dict[str, str], postgres: str
) -> list[Result]:
    """All cases, and the one about expiry again on a server whose keys live for two seconds."""
    with database_on("postgres", postgres) as url:
        told = {**told, "DATABASE_URL": url, "PYTHONPATH": str(ROOT)}
        if not peer.is_asgi:
            tables = [python, "-m", "benchmarks.conformance_peers.django_site"]
            made = {**os.environ, **told, "FIXTURE_DIR": str(folder), "TTL": str(_LONG)}
            subprocess.run(tables, cwd=ROOT, env=made, check=True, timeout=120)
        everything = _run(peer, python, folder / f"{peer.name}-long", told, _LONG)
        [expiry] = _run(peer, python, folder / f"{peer.name}-short", told, _TTL, "I41")
    return [expiry if result.case.id == "I41" else result for result in everything]


def _run(
    peer: Peer, python: Path, folder: Path, told: dict[str, str], ttl: float, *ids: str
) -> list[Result]:
    folder.mkdir()
    told = {**told, "FIXTURE_DIR": str(folder), "TTL": str(ttl)}
    port = free_port()
    server = Process(
        "server", peer.command(python, port), logs=folder, environment=told, ready=listens(port)
    )
    cases = sorted((c for c in CASES if not ids or c.id in ids), key=lambda case: case.id)
    # One of them keeps JSON answers only, as its documentation says.
    media_type = "application/json" if peer.is_asgi else "text/plain"
    options = Options(media_type=media_type, ttl=ttl if ids else None, patience=_PATIENCE)
    with Fleet() as fleet:
        fleet.start(server)
        fleet.wait_until_ready()
        results = run(Client(f"http://127.0.0.1:{port}"), cases, options, _tell)
        server.kill()
    return results


def _tell(result: Result) -> None:
    print(report.line(result), flush=True)


def _print_table(table: dict[str, Sequence[Result]]) -> None:
    signs = {Outcome.PASSED: "✓", Outcome.FAILED: "✗", Outcome.NOT_OFFERED: "–"}  # noqa: RUF001  # a dash
    by_name = {name: {r.case.id: r for r in results} for name, results in table.items()}
    print(f"\n{time.strftime('%Y-%m-%d')}, Python {sys.version.split()[0]}\n")
    print(f"| case | {' | '.join(table)} |")
    print(f"| --- {'| :-: ' * len(table)}|")
    for case in sorted(CASES, key=lambda case: case.id):
        cells = [signs[found[case.id].outcome] for found in by_name.values()]
        print(f"| {case.id} {case.title} | {' | '.join(cells)} |")
    counts = [
        f"{sum(r.outcome is Outcome.PASSED for r in found)} of"
        f" {sum(r.outcome is not Outcome.NOT_OFFERED for r in found)}"
        for found in table.values()
    ]
    print(f"| passed, of those offered | {' | '.join(counts)} |")
    for tier in ("core", "profile"):
        tallied = [report.tally(found)[tier] for found in table.values()]
        print(f"| public vectors, {tier} | {' | '.join(f'{a}/{b}' for a, b in tallied)} |")
    print(f"\n{report.DISCLAIMER}")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
