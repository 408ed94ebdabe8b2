"""
Ten million deliveries, a million of them poisoned: how long each page of the admin takes.

`python -m benchmarks.console_scale [--rows 10000000] [--poisoned 1000000] [--database postgres]
[--only WORDS] [--json FILE]` starts a server of its own, fills it (some ten minutes, 10 GB) and asks
each page of the package six times through Django's test client, as a superuser and as an operator
who may see and redrive deliveries but reads neither events nor errors. Where TEST_POSTGRES_URL or
TEST_MARIADB_URL names a server, what was made there stays, and is found again by the next run.

It ends with 1 where the median of a page is over 300 ms. That is meant for an idle machine: "needs"
is the processor time of a request, ours and the database's, and says what a busy one would take if
it were idle.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import time
from typing import Any

_said = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
_said.add_argument("--rows", type=int, default=10_000_000)
_said.add_argument("--poisoned", type=int, default=1_000_000)
_said.add_argument("--database", choices=("postgres", "mariadb"), default="postgres")
_said.add_argument("--only", default="", help="pages with this in their name")
_said.add_argument("--json", default="", help="a file for all figures and the plans of slow pages")
ARGS = _said.parse_args()
IS_KEPT = bool(os.environ.get(f"TEST_{ARGS.database.upper()}_URL"))
os.environ |= {"TEST_DATABASE": ARGS.database, "DJANGO_SETTINGS_MODULE": "tests.settings"}

import django  # noqa: E402  # it reads what was just set

django.setup()

from django.contrib.auth.models import Permission, User  # noqa: E402  # Django is ready only now
from django.test import Client  # noqa: E402
from django.test.runner import DiscoverRunner  # noqa: E402

from benchmarks.console import crowd, others  # noqa: E402
from benchmarks.console.measure import BOUND, Figures, load, measure, table, write  # noqa: E402
from benchmarks.console.pages import pages  # noqa: E402
from benchmarks.console.sql import value  # noqa: E402
from reliable_effects.outbox.models import Delivery  # noqa: E402

logging.basicConfig(level=logging.ERROR)

_OPERATOR = ("delivery", "failuregroup", "redriveoperation", "alert", "sweep", "effectcontrol")


def main() -> int:
    crowd.declare_effects()
    runner = DiscoverRunner(verbosity=0, interactive=False, keepdb=IS_KEPT)
    databases = runner.setup_databases(aliases={"default"}, serialized_aliases=set())
    try:
        if not Delivery.objects.exists():
            _fill()
        found = [figures for who, user in _people().items() for figures in _asked(who, user)]
        about = _about()
    finally:
        runner.teardown_databases(databases)
    print(table(found))
    slow = [figures for figures in found if figures.is_slow]
    for figures in slow:
        print(f"\n{figures.page} ({figures.who}), {figures.median:.0f} ms. Its slowest query:")
        print(figures.plan)
    print("\n" + "; ".join(f"{name}: {told}" for name, told in about.items()))
    print(
        f"{len(slow)} of {len(found)} are over {BOUND} ms; the bound is meant for an idle machine."
    )
    if ARGS.json:
        write(ARGS.json, found, about)
    return 1 if slow else 0


def _fill() -> None:
    began = time.perf_counter()
    crowd.make(ARGS.rows, ARGS.poisoned)
    others.make(ARGS.rows)
    crowd.vacuum()
    print(f"made in {time.perf_counter() - began:.0f} s", flush=True)


def _people() -> dict[str, User]:
    operator, is_new = User.objects.get_or_create(username="operator", is_staff=True)
    if is_new:
        may = Permission.objects.filter(content_type__app_label="reliable_effects")
        operator.user_permissions.set(
            may.filter(codename__in=[f"view_{name}" for name in _OPERATOR])
            | may.filter(codename__startswith="redrive_")
        )
    return {"superuser": User.objects.get(username="root"), "operator": operator}


def _asked(who: str, user: User) -> list[Figures]:
    client = Client()
    client.force_login(user)
    found = []
    for page in pages(user):
        if ARGS.only in page.name:
            figures = measure(page, client, who)
            print(
                f"{who}, {page.name}: {figures.queries} queries, {figures.median:.0f} ms,"
                f" needs {figures.needs:.0f}{' SLOW' if figures.is_slow else ''}",
                flush=True,
            )
            found.append(figures)
    return found


def _about() -> dict[str, Any]:
    return {
        "rows": ARGS.rows,
        "poisoned": ARGS.poisoned,
        "load": load(),
        "cores": os.cpu_count(),
        "server": str(value("SELECT version()")).split(" on ")[0],
        "python": platform.python_version(),
        "django": django.get_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
