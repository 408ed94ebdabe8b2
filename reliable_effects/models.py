"""Where Django looks for our models."""

from __future__ import annotations

from .console.groups.models import FailureGroup
from .console.groups.states import GroupState
from .console.redriving.models import RedriveItem, RedriveOperation
from .controls.models import EffectControl
from .idempotency.models import IdempotencyRecord
from .idempotency.states import RecordState
from .inbox.models import InboxMessage
from .outbox.models import Attempt, Delivery, OutboxEvent, Sweep
from .outbox.states import Reason, State
from .outgoing.models import Known, OutgoingCall
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
    "EffectControl",
    "FailureGroup",
    "GroupState",
    "IdempotencyRecord",
    "InboxMessage",
    "JobReason",
    "JobState",
    "Known",
    "OutboxEvent",
    "OutgoingCall",
    "Reason",
    "RecordState",
    "RedriveItem",
    "RedriveOperation",
    "Report",
    "ReportDownload",
    "ReportVersion",
    "ScheduledJob",
    "State",
    "Sweep",
    "Walk",
]
