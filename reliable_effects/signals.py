"""
What has happened to a delivery, or to a scheduled job, told after its state is committed; and what
alerts tell.

Every signal is sent with `send_robust`, so a receiver that raises is logged and nothing else;
`sender` is the `Effect`, and `delivery_id`, `key`, `using` (database alias) come with each. Those of
jobs have the model as `sender`, and come with `job`, the row as it is now, and `using`. That of
`event_emitted` is the `Event` (an effect's own, behind a promise), and `promised` counts what is
owed because of it, by effect. That of the inbox has the model `InboxMessage` as
`sender`. Of an alert `sender` is the model `Alert`, and `rule`, `subject`,
`using` come with it.
A process that is killed between the commit and the signal sends none: signals are for watching,
effects are for work.
"""

from __future__ import annotations

from django.dispatch import Signal

event_emitted = Signal()  # event_ids: list[UUID], promised: dict[str, int], source: str, using: str
delivery_succeeded = Signal()  # attempt: int, seconds: float
delivery_skipped = Signal()  # reason: str
attempt_failed = Signal()  # attempt: int, exception: BaseException, retry_at: datetime
delivery_poisoned = Signal()  # reason: str, exception: BaseException | None
delivery_uncertain = Signal()  # waits_for_a_person: bool, exception: BaseException | None
delivery_redriven = Signal()  # by: str, why: str
delivery_settled = Signal()  # happened: bool, by: str, why: str

job_missed = Signal()  # late: timedelta
job_blocked = Signal()  # reason: str

message_conflicted = Signal()  # consumer: str, message_id: str, using: str

alert_raised = Signal()  # text: str, level: int, first_seen_at: datetime, lasting: bool
alert_resolved = Signal()  # text: str, level: int, first_seen_at: datetime
