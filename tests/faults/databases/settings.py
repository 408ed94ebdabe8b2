"""The project's settings: on the database of FAULTS_DATABASE, with leases of seconds."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.settings import *  # noqa: F403  # everything else is as in the other tests
from tests.settings import INSTALLED_APPS


def _database(text: str, options: dict[str, Any]) -> dict[str, Any]:
    url = urlsplit(text)
    match url.scheme:
        case "sqlite":
            # As docs/how-to/deploy.md says it.
            return {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": url.path,
                "OPTIONS": {
                    "timeout": 20,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                }
                | options,
            }
        case "postgres":
            engine, given = "postgresql", {"connect_timeout": 5}
        case _:
            engine, given = "mysql", {"charset": "utf8mb4", "connect_timeout": 5}
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": url.path.strip("/"),
        "USER": unquote(url.username or ""),
        "HOST": url.hostname,
        "PORT": url.port,
        "CONN_MAX_AGE": 60,  # connections outlive a request, and so meet every restart
        "OPTIONS": given | options,
    }


DATABASES = {
    "default": _database(
        os.environ["FAULTS_DATABASE"], json.loads(os.environ.get("FAULTS_OPTIONS", "{}"))
    )
}
INSTALLED_APPS = [*INSTALLED_APPS, "tests.faults.databases"]
RELIABLE_EFFECTS = {
    "TRANSPORT": "celery" if "TEST_BROKER" in os.environ else "none",
    "TIMEOUT": timedelta(seconds=4),
    "LEASE_GRACE": timedelta(seconds=2),
    "RESCUE_PERIOD": timedelta(milliseconds=500),
    "RELAY_GRACE": timedelta(seconds=1),
    "RELAY_PERIOD": timedelta(milliseconds=500),
}
LOGGING = {
    "version": 1,
    "formatters": {"plain": {"format": "{process} {levelname} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "reliable_effects": {"handlers": ["console"], "level": "WARNING", "propagate": False}
    },
}
