"""The shop's settings, with the database that the environment names and an effect that kills."""

from __future__ import annotations

import os
from datetime import timedelta
from urllib.parse import unquote, urlsplit

from example_project.settings import *  # noqa: F403
from example_project.settings import INSTALLED_APPS, LOGGING, RELIABLE_EFFECTS

_url = urlsplit(os.environ["CHAOS_DATABASE"])
if _url.scheme == "sqlite":
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _url.path,
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    _postgres = _url.scheme == "postgres"
    DATABASES = {
        "default": {
            "ENGINE": f"django.db.backends.{'postgresql' if _postgres else 'mysql'}",
            "NAME": _url.path.strip("/"),
            "USER": unquote(_url.username or ""),
            "HOST": _url.hostname,
            "PORT": _url.port,
            "CONN_MAX_AGE": 60,
            "CONN_HEALTH_CHECKS": True,
            # A frozen server must not hold a process for ever.
            "OPTIONS": {"connect_timeout": 5}
            if _postgres
            else {"connect_timeout": 5, "read_timeout": 20, "isolation_level": "read committed"},
        }
    }

INSTALLED_APPS = [*INSTALLED_APPS, "tests.chaos.trouble"]
SILENCED_SYSTEM_CHECKS = ["models.W037", "mysql.W003"]  # of MariaDB; our indexes do without
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # each API request checks one
RELIABLE_EFFECTS = RELIABLE_EFFECTS | {
    "ALERT_PERIOD": timedelta(seconds=5),
    "IDEMPOTENCY_LEASE": timedelta(seconds=5),
    "SHED_PATIENCE": timedelta(milliseconds=50),
}
LOGGING["loggers"]["reliable_effects"]["level"] = os.environ.get("CHAOS_LOG", "INFO")
