"""Where reports are kept: that it can be made, and is not open to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.conf import settings as project
from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import storages

from ..reports.definition import definitions
from ..reports.file_store import FileReportStore
from ..reports.storage_store import DjangoStorageReportStore
from ..reports.stores import store
from .catalogue import TAG, found
from .project import readable_settings


@register(TAG)
def check_reports(**_: Any) -> list[CheckMessage]:
    if readable_settings() is None or not definitions():
        return []
    return list(_problems())


def _problems() -> Iterator[CheckMessage]:
    try:
        made = store()
    except ImproperlyConfigured as error:
        yield found(
            "E110",
            f"{error}. The report {definitions()[0].name!r} could not be kept anywhere.",
            "'REPORT_STORE': {'BACKEND': 'reliable_effects.reports.FileReportStore',"
            " 'OPTIONS': {'location': '/srv/reports'}}"
            "  # for S3: pip install django-reliable-effects[s3]",
        )
        return
    if isinstance(made, FileReportStore):
        yield from _in_the_open(made)
    if isinstance(made, DjangoStorageReportStore) and made.alias not in storages.backends:
        yield found(
            "E112",
            f"REPORT_STORE names the storage {made.alias!r}, and STORAGES has none.",
            f"STORAGES = {{..., {made.alias!r}: {{'BACKEND': ...}}}}",
        )


def _in_the_open(made: FileReportStore) -> Iterator[CheckMessage]:
    place = made.location.resolve()
    for name in ("MEDIA_ROOT", "STATIC_ROOT"):
        root = getattr(project, name, "")
        if root and place.is_relative_to(Path(root).resolve()):
            yield found(
                "E111",
                f"Reports are kept in {made.location}, inside {name}: whoever guesses an address"
                " there reads them, and nobody asks whether they may.",
                "'OPTIONS': {'location': '/srv/reports'}  # outside of what is served",
            )
