"""What would break the promises, found before it does: `manage.py check`, `--deploy`, `--database`."""

from __future__ import annotations

from . import brokers, declarations, jobs, project, reports
from .catalogue import CATALOGUE, TAG

__all__ = ["CATALOGUE", "TAG", "brokers", "declarations", "jobs", "project", "reports"]
