"""Where Django looks for our models."""

from __future__ import annotations

from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from .outbox.states import Reason, State
from .reconcile.models import Coverage, Walk
from .reports.models import Report, ReportDownload, ReportVersion
from .schedule.models import ScheduledJob
from .schedule.states import JobReason, JobState
from .schedule.typed import AbstractScheduledJob
from .watch.models import Alert

__all__ = [
    "AbstractScheduledJob",
    "Alert",
    "Attempt",
    "Coverage",
    "Delivery",
    "JobReason",
    "JobState",
    "OutboxEvent",
    "Reason",
    "Report",
    "ReportDownload",
    "ReportVersion",
    "ScheduledJob",
    "State",
    "Sweep",
    "Walk",
]
