"""Addresses of databases, as Django wants them."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit


def database_settings(url: str) -> dict[str, Any]:
    """Connections are kept, as in a project that cares: CONN_MAX_AGE None."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": unquote(parts.path),
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    is_postgres = parts.scheme.startswith("postgres")
    options: dict[str, Any] = (
        {"connect_timeout": 10}
        if is_postgres
        else {"charset": "utf8mb4", "isolation_level": "read committed"}
    )
    return {
        "ENGINE": f"django.db.backends.{'postgresql' if is_postgres else 'mysql'}",
        "NAME": unquote(parts.path.strip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": None,
        "OPTIONS": options,
    }


def on_server(url: str, name: str) -> str:
    """The address of the database *name* on the server of *url*."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", parts.query, ""))
