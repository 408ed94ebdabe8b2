"""A store of each kind, and an S3 to talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.files.storage import storages

from reliable_effects.reports import DjangoStorageReportStore, FileReportStore, ReportStore

from .moto import Moto


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    server = Moto().start()
    yield server
    server.stop()


@pytest.fixture(params=["files", "s3", "storage"])
def store(request: pytest.FixtureRequest, tmp_path, settings) -> ReportStore:
    """Each of the three in turn, empty or with what is another test's under other keys."""
    match request.param:
        case "files":
            return FileReportStore(location=tmp_path)
        case "s3":
            return request.getfixturevalue("moto").store()
        case "storage":
            backend = "django.core.files.storage.FileSystemStorage"
            options = {"location": str(tmp_path)}
            settings.STORAGES = {
                **settings.STORAGES,
                "reports": {"BACKEND": backend, "OPTIONS": options},
            }
            assert storages["reports"]
            return DjangoStorageReportStore(alias="reports")
