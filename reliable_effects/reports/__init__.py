"""Expensive results computed once, kept as timestamped blobs."""

from __future__ import annotations

from .file_store import FileReportStore
from .storage_store import DjangoStorageReportStore
from .stores import ReportStore, Stored

__all__ = ["DjangoStorageReportStore", "FileReportStore", "ReportStore", "Stored"]
