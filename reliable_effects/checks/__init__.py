"""What would break the promises, found before it does: `manage.py check`, `--deploy`, `--database`."""

from __future__ import annotations

from . import brokers, declarations, inbox, jobs, pressure, project, reports, views
from .catalogue import CATALOGUE, TAG

__all__ = [
    "CATALOGUE",
    "TAG",
    "brokers",
    "declarations",
    "inbox",
    "jobs",
    "pressure",
    "project",
    "reports",
    "views",
]
