"""
Settings of the test suite: one of three databases, named by TEST_DATABASE.

Child processes of a test that import this find their parent's database: what is started or made
here is named in the environment, and whoever finds a name there starts nothing.
"""

from __future__ import annotations

import atexit
import os
import secrets
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.services import MariaDB, Postgres, Server


def _sqlite(name: str) -> dict[str, Any]:
    if "TEST_SQLITE_PATH" not in os.environ:
        # Only a name: a tool that reads these settings and ends in its own way leaves nothing.
        path = Path(tempfile.gettempdir()) / f"effects-sqlite-{os.getpid()}-{secrets.token_hex(4)}"
        os.environ["TEST_SQLITE_PATH"] = str(path)
        atexit.register(_remove, path, os.getpid())
    return {
        "ENGINE": "django.db.backends.sqlite3",
        # A file, since threads and child processes share it.
        "NAME": f"{os.environ['TEST_SQLITE_PATH']}-{name}.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    }


def _remove(path: Path, maker: int) -> None:
    if os.getpid() == maker:  # forked children run these handlers too
        for file in path.parent.glob(f"{path.name}-*"):  # databases, and their -wal and -shm
            file.unlink(missing_ok=True)


def _served(
    server: type[Server], engine: str, options: dict[str, Any], name: str
) -> dict[str, Any]:
    if not os.environ.get(server.variable):
        os.environ[server.variable] = server().start().url  # it stops when this process ends
    url = urlsplit(os.environ[server.variable])
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": f"test_{url.path.strip('/')}_{name}",
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": url.hostname,
        "PORT": url.port or "",
        "OPTIONS": options,
    }


def _database(name: str) -> dict[str, Any]:
    match os.environ.get("TEST_DATABASE", "sqlite"):
        case "sqlite":
            database = _sqlite(name)
        case "postgres":
            database = _served(Postgres, "postgresql", {"connect_timeout": 10}, name)
        case "mariadb":
            options = {"charset": "utf8mb4", "isolation_level": "read committed"}
            database = _served(MariaDB, "mysql", options, name)
        case unknown:
            raise ValueError(f"TEST_DATABASE={unknown!r}: use sqlite, postgres or mariadb.")
    # Tests and their child processes meet in one database, so it has one name.
    test = {"NAME": database["NAME"]}
    if database["ENGINE"].endswith("mysql"):
        test["CHARSET"] = "utf8mb4"  # a server's own may be latin1
    return database | {"TEST": test}


DATABASES = {"default": _database("default"), "other": _database("other")}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "of no use outside the tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick, and guards nothing
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "reliable_effects",
    "tests.shop",
    "tests.trials",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

RELIABLE_EFFECTS = {"TRANSPORT": "none"}
