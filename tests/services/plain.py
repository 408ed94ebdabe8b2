"""Straight to a database, by no code of ours and no Django."""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import urlsplit


def connect(text: str) -> Any:
    """A plain connection to *text*, a URL; each statement is a transaction."""
    url = urlsplit(text)
    match url.scheme:
        case "sqlite":
            return sqlite3.connect(url.path, timeout=20, isolation_level=None)
        case "postgres":
            import psycopg  # noqa: PLC0415  # not where another database is tested

            return psycopg.connect(text, autocommit=True, connect_timeout=5)
        case _:
            import MySQLdb  # noqa: PLC0415  # as above

            return MySQLdb.connect(
                host=url.hostname, port=url.port, user=url.username, autocommit=True,
                db=url.path.strip("/"),
            )  # fmt: skip
