"""
Settings of a site that owes effects by one contender: BENCH_CONTENDER names it.

BENCH_DATABASE_URL and BENCH_BROKER_URL say where its servers are, BENCH_LEDGER where runs are noted,
BENCH_QUEUE which queue of the broker is its own.
"""

from __future__ import annotations

import os

from benchmarks.side_by_side.contenders import contender
from benchmarks.side_by_side.place import database_settings

_CONTENDER = contender(os.environ["BENCH_CONTENDER"])
_BROKER = os.environ.get("BENCH_BROKER_URL", "")

BENCH_LEDGER = os.environ["BENCH_LEDGER"]
DATABASES = {"default": database_settings(os.environ["BENCH_DATABASE_URL"])}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "of no use outside the benchmarks"
USE_TZ = True
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    *_CONTENDER.apps,
    "benchmarks.side_by_side.site.apps.SiteConfig",
]
# As a careful project has it: what is worth a line is in the log, of everybody.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["err"], "level": "INFO"},
}

globals().update(_CONTENDER.settings(_BROKER, os.environ["BENCH_QUEUE"]))
