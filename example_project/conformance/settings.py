"""
Settings of the fixture server. All of it comes from the environment, since each variant is a process:

    FIXTURE_DIR              counters, and the SQLite database where no other is named
    FIXTURE_DATABASE_URL     postgres://…, mysql://… or sqlite:///path
    FIXTURE_ATOMIC_REQUESTS  1: every view in a transaction of Django's
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

FIXTURE_DIR = Path(os.environ["FIXTURE_DIR"])

_ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "postgres": ("postgresql", {"connect_timeout": 3}),
    "mysql": (
        "mysql",
        {"charset": "utf8mb4", "isolation_level": "read committed", "connect_timeout": 3},
    ),
}


def _database(url: str) -> dict[str, Any]:
    if not url or url.startswith("sqlite://"):
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": url.removeprefix("sqlite://") or FIXTURE_DIR / "fixture.sqlite3",
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
            },
        }
    parts = urlsplit(url)
    engine, options = _ENGINES[parts.scheme]
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "OPTIONS": options,
    }


DATABASES = {
    "default": _database(os.environ.get("FIXTURE_DATABASE_URL", ""))
    | {"ATOMIC_REQUESTS": os.environ.get("FIXTURE_ATOMIC_REQUESTS") == "1"}
}
SECRET_KEY = "for the fixture only: it runs on loopback and guards nothing"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "example_project.conformance.urls"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "reliable_effects",
    "example_project.conformance",
]
# No CSRF: the clients are programs that log in anew.
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
REST_FRAMEWORK = {"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]}
RELIABLE_EFFECTS = {"TRANSPORT": "none"}  # nothing runs the effects: they are counted
