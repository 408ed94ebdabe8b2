"""What a run was made on: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from .contenders import Contender
from .place import on_server
from .servers import SETTINGS, Servers

_ROOT = Path(__file__).resolve().parents[2]


def about(command: str) -> dict[str, Any]:
    """Before the run: its commit, the machine, and how busy that is already."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _commit(),
        "command": command,
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_before": _load(),
    }


def after(servers: Servers, contenders: list[Contender]) -> dict[str, Any]:
    versions: dict[str, str] = {}
    for one in contenders:
        if not one.why_not():
            versions |= one.versions()
    versions["django"] = version("django")
    found: dict[str, Any] = {"load_after": _load(), "versions": dict(sorted(versions.items()))}
    if "postgres" in servers.__dict__:
        with psycopg.connect(on_server(servers.postgres.url, "postgres")) as connection:
            row = connection.execute("SHOW server_version").fetchone()
            found["postgres"] = {
                "version": row[0].split()[0] if row else "",
                **{name: _shown(connection, name) for name in SETTINGS},
            }
    return found


def _shown(connection: psycopg.Connection[Any], name: str) -> str:
    row = connection.execute(f"SHOW {name}").fetchone()  # type: ignore[arg-type]  # our own names
    return str(row[0]) if row else ""


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(_ROOT), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
        return done.stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + changed


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or sys.platform


def _load() -> str:
    return " ".join(f"{one:.2f}" for one in os.getloadavg())
