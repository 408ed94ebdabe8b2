"""What is installed: the first thing that whoever helps will ask."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from .fact import Fact, Severity

_PACKAGES = (
    "django-reliable-effects", "Django", "celery", "kombu", "redis", "amqp", "psycopg",
    "mysqlclient",
)  # fmt: skip


def examine() -> Iterator[Fact]:
    found = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    yield Fact(Severity.FINE, "versions", ", ".join(found))
