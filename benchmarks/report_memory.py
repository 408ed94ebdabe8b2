"""
A report of a gigabyte: by how much the process grows that builds it, and that streams it.

`python -m benchmarks.report_memory [files|s3|storage] [megabytes]`, with the real delivery, on
SQLite; s3 is moto's server, in a process of its own. The peak is the kernel's (VmHWM), less what
the process had before the first row.
"""

# ruff: noqa: T201  # a command talks to its caller
from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

KIND = sys.argv[1] if sys.argv[1:] else "files"
MEGABYTES = int(sys.argv[2]) if sys.argv[2:] else 1024
os.environ |= {"TEST_DATABASE": "sqlite", "DJANGO_SETTINGS_MODULE": "tests.settings"}

import django  # noqa: E402  # it reads what was just set

django.setup()

from django.test.runner import DiscoverRunner  # noqa: E402  # Django is ready only now
from django.test.utils import override_settings  # noqa: E402

from reliable_effects.reports import ask, report  # noqa: E402
from reliable_effects.reports.stores import Stored, Verified, store  # noqa: E402
from reliable_effects.testing import run_effects  # noqa: E402
from tests.reports.moto import Moto  # noqa: E402

ROW = ("customer@example.com", "x" * 900, 12345)
AT_MOST = 150 * 1024  # kB of growth: what the issue asks for


@report("benchmark.large", allowed=lambda _user: True, fresh_for=timedelta(days=1))
def large() -> Any:
    for _ in range(MEGABYTES * 1024 * 1024 // 930):
        yield ROW


def main() -> None:
    runner = DiscoverRunner(verbosity=0, interactive=False)
    databases = runner.setup_databases()
    moto = Moto().start() if KIND == "s3" else None
    try:
        with tempfile.TemporaryDirectory() as folder, override_settings(**_settings(folder, moto)):
            print(f"{KIND}, a report of {MEGABYTES} MB")
            _warm_up()
            _measure("built", _build)
            _measure("streamed", _stream)
    finally:
        if moto is not None:
            moto.stop()
        runner.teardown_databases(databases)


def _settings(folder: str, moto: Moto | None) -> dict[str, Any]:
    files = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
    backends: dict[str, tuple[str, dict[str, Any]]] = {
        "files": ("reliable_effects.reports.FileReportStore", {"location": folder}),
        "storage": ("reliable_effects.reports.DjangoStorageReportStore", {"alias": "reports"}),
        "s3": (
            "reliable_effects.reports.s3_store.S3ReportStore",
            moto.bucket.options() if moto is not None else {},
        ),
    }
    backend, options = backends[KIND]
    return {
        "STORAGES": {"reports": {**files, "OPTIONS": {"location": folder}}},
        "RELIABLE_EFFECTS": {
            "TRANSPORT": "none",
            "REPORT_STORE": {"BACKEND": backend, "OPTIONS": options},
        },
    }


def _warm_up() -> None:
    """What is imported on first use is no growth of a report's."""
    stored = store().put("warm/up.csv", [b"x"], content_type="text/csv")
    list(Verified("warm/up.csv", store().open_range("warm/up.csv"), stored))


def _build() -> None:
    ask(large, large.row({}))
    run_effects()


def _stream() -> None:
    version = large.row({}).current
    if version is None:
        raise SystemExit("it was not built")
    expected = Stored(version.size, version.sha256)
    size = sum(map(len, Verified(version.key, store().open_range(version.key), expected)))
    if not size == version.size >= MEGABYTES * 1024 * 1024 * 0.99:
        raise SystemExit(f"{size} bytes came back of {version.size}")


def _measure(what: str, act: Any) -> None:
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = _kilobytes("VmRSS"), time.perf_counter()
    act()
    grown = _kilobytes("VmHWM") - before
    seconds = time.perf_counter() - began
    print(f"{what} in {seconds:.1f} s, growth at its peak {grown / 1024:.1f} MB")
    if grown > AT_MOST:
        raise SystemExit(f"more than {AT_MOST // 1024} MB")


def _kilobytes(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise LookupError(name)


if __name__ == "__main__":
    main()
