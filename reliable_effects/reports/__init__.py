"""
Expensive results computed once, kept as timestamped blobs, and handed to whom may read them.

    @report("shop.weekly_usage", allowed=may_read, fresh_for=timedelta(days=1))
    def weekly_usage(customer: int, week: date) -> Iterator[dict[str, Any]]: ...

`S3ReportStore` is in `reliable_effects.reports.s3_store`, since it needs boto3.
"""

from __future__ import annotations

from .asking import ask
from .definition import ReportDefinition, report
from .file_store import FileReportStore
from .formats import CSV, File, JSONLines
from .serve import report_response
from .storage_store import DjangoStorageReportStore
from .stores import ReportStore, Stored

__all__ = [
    "CSV",
    "DjangoStorageReportStore",
    "File",
    "FileReportStore",
    "JSONLines",
    "ReportDefinition",
    "ReportStore",
    "Stored",
    "ask",
    "report",
    "report_response",
]
