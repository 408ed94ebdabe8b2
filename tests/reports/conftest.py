"""A store of each kind, and an S3 to talk to."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.files.storage import storages

from reliable_effects import Backoff
from reliable_effects.clock import moved
from reliable_effects.effects.registry import registry
from reliable_effects.outbox.heartbeat import Swept
from reliable_effects.outbox.models import Delivery
from reliable_effects.outbox.sweeps import sweep
from reliable_effects.reports import (
    DjangoStorageReportStore,
    FileReportStore,
    ReportDefinition,
    ReportStore,
    ask,
    report,
)
from reliable_effects.reports.models import Report
from reliable_effects.reports.sweeps import TIDY
from reliable_effects.testing import run_effects
from tests.forgetting import forget_rows
from tests.services import Ceph

from .bucket import Bucket
from .moto import Moto

_numbers = itertools.count(1)


# `make s3-real`. What moto does not check is not asked of it.
IS_REAL = os.environ.get("TEST_S3") == "ceph"
collect_ignore = [] if IS_REAL else ["test_real_s3.py"]


@pytest.fixture(scope="session")
def bucket() -> Iterator[Bucket]:
    """Of moto's server, or of Ceph's."""
    if IS_REAL:
        with Ceph() as ceph:
            yield Bucket(ceph.port, ceph.access_key, ceph.secret_key)
        return
    server = Moto().start()
    yield server.bucket
    server.stop()


@pytest.fixture(params=["files", "s3", "storage"])
def store(request: pytest.FixtureRequest, tmp_path, settings) -> ReportStore:
    """Each of the three in turn, empty or with what is another test's under other keys."""
    match request.param:
        case "files":
            return FileReportStore(location=tmp_path)
        case "s3":
            return request.getfixturevalue("bucket").store()
        case "storage":
            backend = "django.core.files.storage.FileSystemStorage"
            options = {"location": str(tmp_path)}
            settings.STORAGES = {
                **settings.STORAGES,
                "reports": {"BACKEND": backend, "OPTIONS": options},
            }
            assert storages["reports"]
            return DjangoStorageReportStore(alias="reports")


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> Iterator[None]:
    forget_rows()
    yield
    forget_rows()


@pytest.fixture
def files(tmp_path, settings) -> FileReportStore:
    """The project's store: files below a folder of this test's own."""
    settings.RELIABLE_EFFECTS = {
        **settings.RELIABLE_EFFECTS,
        "REPORT_STORE": {
            "BACKEND": "reliable_effects.reports.FileReportStore",
            "OPTIONS": {"location": str(tmp_path)},
        },
    }
    return FileReportStore(location=tmp_path)


@pytest.fixture
def make_report(
    files: FileReportStore,  # noqa: ARG001  # where they are built to
) -> Iterator[Callable[..., ReportDefinition]]:
    """`make_report(function, **options)`: a report that is forgotten after the test."""

    def make(function: Callable[..., Any], **options: Any) -> ReportDefinition:
        name = options.pop("name", f"test.report_{next(_numbers)}")
        options.setdefault("allowed", lambda _user, **_: True)
        options.setdefault("fresh_for", timedelta(hours=1))
        options.setdefault("backoff", Backoff(first=timedelta(0), longest=timedelta(0)))
        return report(name, **options)(function)

    with registry.scratch():
        yield make


@pytest.fixture
def usage(make_report) -> ReportDefinition:
    """Two rows, whose numbers say what they were asked with."""
    return make_report(usage_rows, title=lambda customer, **_: f"Usage {customer}")


def usage_rows(customer: int, day: date = date(2026, 1, 1)) -> Iterator[dict[str, Any]]:
    yield {"customer": customer, "day": day, "used": 7}
    yield {"customer": customer, "day": day, "used": 35}


def asked(report: ReportDefinition, **parameters: Any) -> Report:
    """Asked for and not yet built."""
    assert ask(report, report.row(parameters))
    return report.row(parameters)


def built(report: ReportDefinition, **parameters: Any) -> Report:
    """Asked for and built, as a worker does it."""
    asked(report, **parameters)
    run_effects()
    return report.row(parameters)


def delivery_of(row: Report) -> Delivery:
    return Delivery.objects.get(key=row.build_key)


def swept(name: str) -> Swept | None:
    return sweep("default", name, now=True)


def tidied(after: timedelta) -> None:
    """*after* a while, in several turns an hour apart: each is bounded by time, on a slow machine too."""
    for turn in range(5):
        with moved(after + turn * timedelta(hours=1, minutes=10)):
            swept(TIDY)
