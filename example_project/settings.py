"""
Settings of the example project.

It runs without any of these environment variables:
    DEMO_DIR       where the database and the logs are; .demo beside this folder
    DATABASE_URL   postgres://user:password@host:port/name instead of SQLite
    BROKER_URL     redis://… or amqp://…; without one, run `manage.py effects_worker`
    PARTNERS_URL   where the partners listen
    WEBHOOK_SECRET what partners sign with
    HASTE          1: short leases and quick sweeps, for a run that kills its workers
"""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parent.parent
DEMO_DIR = Path(os.environ.get("DEMO_DIR", ROOT / ".demo"))
PARTNERS_URL = os.environ.get("PARTNERS_URL", "http://127.0.0.1:8001")
WEBHOOK_SECRET = os.environ.get("WEBHOOK_SECRET", "between-the-shop-and-its-partners")

SECRET_KEY = "for-this-demo-only"  # it runs on one machine and listens on loopback
DEBUG = False
ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", "testserver"]

HAS_BEAT = find_spec("django_celery_beat") is not None
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    *(["django_celery_beat"] if HAS_BEAT else []),
    "rest_framework",
    "drf_spectacular",
    "reliable_effects",
    "example_project.shop",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "example_project.urls"
WSGI_APPLICATION = "example_project.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "example_project.shop.context.partners",
            ]
        },
    }
]
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"


def _database(url: str) -> dict[str, object]:
    if not url:
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DEMO_DIR / "shop.sqlite3",
            # Without all four, several processes on one file end in "database is locked": web
            # and workers read before they write, and SQLite refuses to upgrade such a lock.
            "OPTIONS": {
                "timeout": 20,  # seconds to wait for another writer
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;",
            },
        }
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path.lstrip("/"),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
    }


DATABASES = {"default": _database(os.environ.get("DATABASE_URL", ""))}
if "DATABASE_URL" not in os.environ:
    DEMO_DIR.mkdir(parents=True, exist_ok=True)

RELIABLE_EFFECTS: dict[str, object] = {
    "TIMEOUT": timedelta(seconds=5),
    "OUTGOING_TIMEOUT": timedelta(seconds=3),  # of a call to a partner
    "OUTGOING_CONNECT_TIMEOUT": timedelta(seconds=1),
    "MAX_ATTEMPTS": 14,  # a partner that fails every fifth call fails 14 in a row once in 6e9
    "LEASE_GRACE": timedelta(seconds=5),
    "RELAY_PERIOD": timedelta(seconds=1),
    "RELAY_GRACE": timedelta(seconds=5),
    "RESCUE_PERIOD": timedelta(seconds=2),
    "TICK_PERIOD": timedelta(seconds=1),  # trials of 20 seconds end in the demo
    # A shop that may wait an hour until it is found out that something was lost says nothing here.
    "RECONCILE_PERIOD": timedelta(seconds=20),
    "RECONCILE_ALL_PERIOD": timedelta(minutes=2),
    "REPORT_STORE": {
        "BACKEND": "reliable_effects.reports.FileReportStore",
        "OPTIONS": {"location": str(DEMO_DIR / "reports")},
    },
}
if os.environ.get("HASTE"):
    RELIABLE_EFFECTS |= {
        "LEASE_GRACE": timedelta(seconds=2),
        "RELAY_PERIOD": timedelta(seconds=1),
        "RELAY_GRACE": timedelta(seconds=2),
        "RESCUE_PERIOD": timedelta(seconds=1),
        "PUBLISH_REST": timedelta(seconds=2),
        "RECONCILE_PERIOD": timedelta(seconds=4),
        "RECONCILE_ALL_PERIOD": timedelta(seconds=10),
        # Chance kills the same delivery several times when a worker dies every few seconds.
        "MAX_KILLS": 10,
    }

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.BasicAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {"TITLE": "The shop", "VERSION": "1", "SERVE_INCLUDE_SCHEMA": False}

CELERY_BROKER_URL = os.environ.get("BROKER_URL", "")
CELERY_TASK_DEFAULT_QUEUE = "shop"  # the project's own tasks; effects have queues of their own
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if HAS_BEAT:
    CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {"reliable_effects": {"level": "INFO"}},
}
