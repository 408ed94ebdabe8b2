"""What stands beside ten million deliveries: rollups, groups, the log, redrives, jobs, calls, keys."""

# ruff: noqa: S608  # the tables are ours
from __future__ import annotations

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType

from reliable_effects.console.groups.models import FailureGroup
from reliable_effects.console.redriving.models import (
    OperationState,
    Outcome,
    RedriveItem,
    RedriveOperation,
)
from reliable_effects.console.rollups.models import EffectRollup, QueueRollup, RollupCursor
from reliable_effects.idempotency.models import IdempotencyRecord
from reliable_effects.inbox.models import InboxMessage
from reliable_effects.outbox.models import Delivery, Sweep
from reliable_effects.outbox.states import Reason, State
from reliable_effects.outgoing.models import OutgoingCall
from reliable_effects.reconcile.models import Coverage, Walk
from reliable_effects.reports.models import Report, ReportDownload, ReportVersion
from reliable_effects.schedule.models import ScheduledJob
from reliable_effects.watch.models import Alert

from .crowd import EFFECTS, QUEUES, told
from .sql import (
    ago,
    case,
    execute,
    in_order,
    insert,
    is_postgres,
    scattered,
    text,
    whole,
    without_indexes,
)

BUCKETS = 14 * 288  # five minutes each, two weeks
LOGGED, ITEMS = 100_000, 50_000


def make(rows: int) -> None:
    """*rows* deliveries are there; a tenth as many of what is counted by the request."""
    tenth = rows // 10
    with told("rollups, sweeps, alerts, coverage"):
        _rollups()
        _watch()
    with told("groups"):
        _groups()
    with told(f"{LOGGED:,} log entries, {ITEMS:,} redrive items"):
        _log(rows)
        _redrives(rows)
    with told(f"{tenth:,} each of jobs, calls, records and messages; reports"):
        with without_indexes((ScheduledJob, OutgoingCall, IdempotencyRecord, InboxMessage)):
            _jobs(tenth)
            _calls(tenth, rows)
            _records(tenth)
            _messages(tenth)
        _reports()


def _rollups() -> None:
    # Buckets divide by five minutes; the newest is the one that just ended.
    bucket = (
        "to_timestamp(floor(extract(epoch FROM now()) / 300) * 300 - {0} * 300)"
        if is_postgres()
        else "DATE_ADD('1970-01-01', INTERVAL"
        " (FLOOR(TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP()) / 300) * 300 - {0} * 300) SECOND)"
    )
    insert(
        EffectRollup,
        BUCKETS * EFFECTS,
        {
            "bucket": bucket.format(whole(f"(n - 1) / {EFFECTS} + 1")),
            "effect": f"concat('scale.effect_', lpad({text(f'n % {EFFECTS}')}, 2, '0'))",
            "emitted": "n % 200", "succeeded": "n % 190", "skipped": "n % 3", "failed": "n % 11",
            "poisoned": "n % 5", "uncertain": "0",
        },
    )  # fmt: skip
    queues = len(QUEUES)
    insert(
        QueueRollup,
        BUCKETS * queues,
        {
            "bucket": bucket.format(whole(f"(n - 1) / {queues} + 1")),
            "queue": case(*((f"n % {queues} = {i}", f"'{q}'") for i, q in enumerate(QUEUES)), otherwise="''"),
            "seen_at": ago(whole(f"(n - 1) / {queues}") + " * 300"),
            "due": "n % 9000", "oldest_due": "n % 700", "running": "n % 40",
            "poisoned": "10000", "uncertain": "n % 100",
        },
    )  # fmt: skip
    minute = ago("60")
    insert(
        RollupCursor,
        1,
        {"id": "1", "began_at": ago("1209600"), "emitted_to": minute, "ended_to": minute,
         "failed_to": minute, "attempt": "1"},
    )  # fmt: skip


def _watch() -> None:
    for name in ("relay", "rescue", "prune", "rollup", "alerts", "grouping", "reconcile", "tick"):
        Sweep.objects.create(name=name, seen=10, done=10)
    insert(
        Alert,
        2000,
        {"rule": "'poison'", "subject": "concat('scale.effect_', n)", "level": "40",
         "text": "concat('Effect ', n, ' has poison pills')", "first_seen_at": ago("n * 3600"),
         "last_seen_at": ago("n * 60"), "count": "n % 7 + 1", "untold": "''",
         "resolved_at": case(("n % 40 = 0", "NULL"), otherwise=ago("n * 60"))},
    )  # fmt: skip
    effect = f"concat('scale.effect_', lpad({text(f'n % {EFFECTS}')}, 2, '0'))"
    day = f"(({ago(whole(f'n / {EFFECTS}') + ' * 86400')}))"
    day = f"{day}::date" if is_postgres() else f"DATE({day})"
    counts = dict.fromkeys(
        (
            "late",
            "unexpected",
            "missing",
            "waiting",
            "poisoned",
            "uncertain",
            "given_up",
            "contradicted",
        ),
        "n % 4",
    )
    insert(
        Coverage,
        EFFECTS * 400,
        {"effect": effect, "day": day, "in_time": "1000 + n % 99", **counts},
    )
    insert(
        Walk,
        EFFECTS,
        {"effect": effect, "tier": "'recent'", "is_under_way": "false", "turns": "1", "seen": "1000",
         "promised": "2", "reopened": "0", "days": "'{}'", "problem": "''", "found": "'{}'",
         "ended_at": ago("60")},
    )  # fmt: skip


def _groups() -> None:
    """Those of the pills as the sweep counts them, and 300 that are over."""
    deliveries, groups = Delivery._meta.db_table, FailureGroup._meta.db_table
    common = (
        "fingerprint, effect, exception_type, place, reason, sample_message, sample_delivery_id,"
        " first_seen_at, last_seen_at, pills, total, last_release, releases, state, note, owner,"
        " fixed_in, counted_at"
    )
    said = "'shop.partners.PartnerSaysNo', 'shop.partners:charge'"
    execute(
        f"INSERT INTO {groups} ({common}) SELECT fingerprint, MAX(effect), {said}, MAX(reason),"
        " 'Order was refused', MAX(id), MIN(finished_at), MAX(finished_at), COUNT(*), COUNT(*),"
        f" '2026.11', '[]', 0, '', '', '', {ago('30')} FROM {deliveries}"
        f" WHERE state = {State.POISONED:d} GROUP BY fingerprint"
    )
    insert(
        FailureGroup,
        300,
        {"fingerprint": "md5(concat('over ', n))", "effect": "'scale.effect_01'",
         "exception_type": "'shop.Over'", "place": "'shop:over'", "reason": f"'{Reason.REFUSED}'",
         "sample_message": "''", "first_seen_at": ago("n * 9000"), "last_seen_at": ago("n * 5000"),
         "pills": "0", "total": "n", "last_release": "'2026.1'", "releases": "'[]'",
         "state": "n % 3", "note": "''", "owner": "''", "fixed_in": "''", "counted_at": ago("30")},
    )  # fmt: skip


def _log(rows: int) -> None:
    about = ContentType.objects.get_for_model(Delivery).pk
    user = User.objects.create_superuser("root").pk
    insert(
        LogEntry,
        LOGGED,
        {"action_time": ago(f"({LOGGED} - n) * 20"), "user_id": str(user), "content_type_id": str(about),
         "object_id": text(f"(n * 7919) % {rows} + 1"), "object_repr": "'scale.effect #1'",
         "action_flag": str(CHANGE), "change_message": "'Redriven (one of 500): the partner is back'"},
    )  # fmt: skip


def _redrives(rows: int) -> None:
    for number in range(150):
        state = OperationState.RUNNING if number == 0 else OperationState.DONE
        RedriveOperation.objects.create(
            said="state poisoned", selection={"filters": {"state": "poisoned"}}, by="root",
            why="the partner is back", state=state, canary=10, rate=600, halt_percent=50,
            gathered=ITEMS, released=ITEMS // 2, succeeded=ITEMS // 3,
        )  # fmt: skip
    first = RedriveOperation.objects.order_by("pk").values_list("pk", flat=True)[0]
    insert(
        RedriveItem,
        ITEMS,
        {"operation_id": str(first), "delivery_id": f"n * {rows // ITEMS}",
         "outcome": f"n % {len(Outcome)}", "released_at": case((f"n % {len(Outcome)} = 0", "NULL"), otherwise=ago("n")),
         "look_at": case((f"n % {len(Outcome)} IN ({Outcome.RELEASED:d}, {Outcome.FAILING:d})", ago("-60")), otherwise="NULL"),
         "remark": "''"},
    )  # fmt: skip


def _jobs(count: int) -> None:
    """A tenth has ended, some are blocked; all others wait, up to a year ahead."""
    insert(
        ScheduledJob,
        count,
        {"id": in_order("n"), "event": "'shop.order_placed'", "subject_model": "'shop.order'",
         "subject_pk": text("n"), "payload": "'{}'", "version": "1", "key": "concat('trial ', n)",
         "key_held": case(("n % 10 IN (1, 2)", "NULL"), otherwise=scattered("n", "job")),
         "state": case(("n % 10 = 1", "2"), ("n % 10 = 2", "3"), ("n % 1000 = 3", "1"), otherwise="0"),
         "reason": case(("n % 1000 = 3", "'SUBJECT_GONE'"), otherwise="''"),
         "at": ago("-31 * n + 86400"), "wall_clock": "''", "created_at": ago("n"),
         "ended_at": case(("n % 10 IN (1, 2)", ago("n")), otherwise="NULL")},
    )  # fmt: skip


def _calls(count: int, rows: int) -> None:
    insert(
        OutgoingCall,
        count,
        {"key": scattered("n", "call"), "delivery_id": f"n * {rows // count}", "call": "''",
         "target": "'POST api.partner.example'", "request_hash": "md5('x')",
         "first_sent_at": ago(f"{count} - n"), "last_sent_at": ago(f"{count} - n"),
         "times_sent": "1", "known": case(("n % 50 = 0", "'unknown'"), otherwise="'done'"),
         "status": "200", "request_id": "''", "send_token": "n"},
    )  # fmt: skip


def _records(count: int) -> None:
    """A thousandth is uncertain, twenty are in progress, all others are done."""
    insert(
        IdempotencyRecord,
        count,
        {"scope": "md5(concat('scope', n % 100000))", "key": "md5(concat('key', n))",
         "fingerprint": "md5('f')", "principal": "md5(concat('who', n % 100000))",
         "operation": "'POST /orders/'", "state": case(("n % 1000 = 0", "4"), (f"n > {count} - 20", "1"), otherwise="2"),
         "token": "n", "foreign": "false", "lease_expires_at": ago("0"),
         "created_at": ago(f"({count} - n) * 2"), "status": "201", "headers": "'[]'", "omitted": "false",
         "expires_at": ago("-86400"), "reason": "''"},
    )  # fmt: skip


def _messages(count: int) -> None:
    insert(
        InboxMessage,
        count,
        {"consumer": "concat('partner-', n % 8)", "message_id": "concat('evt_', n)",
         "key": scattered("n", "message"), "payload_hash": "md5('x')",
         "received_at": ago(f"({count} - n) * 2"), "conflicts": "0",
         "conflicted_at": case(("n % 5000 = 0", ago("n")), otherwise="NULL")},
    )  # fmt: skip


def _reports() -> None:
    reports, versions = 10_000, 30_000
    insert(
        Report,
        reports,
        {"name": "concat('shop.report_', n % 20)", "identity": "md5(concat('report', n))",
         "parameters": "'{\"month\": \"2026-11\"}'", "current_number": "1", "asked": "3",
         "created_at": ago("n")},
    )  # fmt: skip
    insert(
        ReportVersion,
        versions,
        {"report_id": f"(SELECT MIN(id) FROM {Report._meta.db_table}) + n % {reports}", "number": "n % 3 + 1",
         "state": case(("n % 3 = 0", "1"), otherwise="2"), "key": "concat('reports/', n)",
         "content_type": "'text/csv'", "extension": "'csv'", "rows": "1000", "size": "90000",
         "sha256": "md5('x')", "etag": "''", "delivery_id": "n", "started_at": ago("n"),
         "finished_at": ago("n"), "looked_at": ago("n")},
    )  # fmt: skip
    insert(
        ReportDownload,
        100_000,
        {"report_id": f"(SELECT MIN(id) FROM {Report._meta.db_table}) + (n * n) % {reports}", "number": "1",
         "sha256": "md5('x')", "user_pk": "'1'", "user": "'root'", "how": "'stream'", "at": ago("n")},
    )  # fmt: skip
