"""
The settings: one dict, `RELIABLE_EFFECTS`, read on first use and frozen.

Keys are the field names of `Settings` in upper case. Every key has a default that works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import connections

NAME = "RELIABLE_EFFECTS"

FASTEST_REDRIVE = 30_000  # deliveries in a minute: what the turns of one sweep can release
MOST_COUNTED = 10_000  # rows; where what waits for a person is counted, it ends there
LONGEST_SPAN = timedelta(days=3653)  # ten years; now and twice as much is a date in every database


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a project may set. Spans are `timedelta`."""

    # The way to the workers
    transport: str = "auto"  # "auto", "celery", "none", or a dotted path to send(queue, hint)
    databases: tuple[str, ...] = ("default",)  # aliases that have our tables and are swept
    # Of effects that name none; our own, so that nothing of yours waits behind us.
    queue: str = "effects"
    publish_patience: timedelta = timedelta(seconds=1)  # what one hint may take; no request waits
    publish_rest: timedelta = timedelta(seconds=30)  # how long a failed broker is left alone

    # An effect's run
    max_attempts: int = 8  # runs in all, the first included
    max_kills: int = 3  # workers that one delivery may take with it before it is set aside
    timeout: timedelta = timedelta(seconds=60)  # of one run, where the effect names none
    lease_grace: timedelta = timedelta(seconds=30)  # from the timeout to the end of the lease
    max_snooze: timedelta = timedelta(days=7)  # all snoozes of one delivery together
    max_unknown: timedelta = timedelta(hours=24)  # how long a name may be unknown to every worker

    # The sweeps
    relay_period: timedelta = timedelta(seconds=2)
    relay_grace: timedelta = timedelta(seconds=10)  # how long a hint may take before the next one
    relay_outstanding: int = 2000  # hinted, unclaimed rows per queue, at most
    rescue_period: timedelta = timedelta(seconds=10)
    prune_period: timedelta = timedelta(minutes=10)
    unconsumed_after: timedelta = timedelta(seconds=60)  # due work and no claim: nobody is there
    sweep_in_workers: bool = True  # Celery workers sweep on a timer of their own
    retention: timedelta = timedelta(days=7)  # of what ended well, where nothing else is said

    # Reconciliation: what the owed queries name, and nobody has promised
    reconcile_period: timedelta = timedelta(hours=1)  # of the walk over what is recent
    reconcile_window: timedelta = timedelta(days=2)  # what that walk calls recent
    reconcile_all_period: timedelta = timedelta(days=1)  # of the walk over everything
    reconcile_limit: int = 100  # deliveries it promises at a time for one effect, every ten seconds
    reconcile_backlog: int = 1000  # due in the effect's queue: then it promises no more

    # What is stored
    payload_limit: int = 64 * 1024  # bytes of JSON
    error_limit: int = 8 * 1024  # bytes of an exception's message, and of its traceback
    redact: str = "reliable_effects.outbox.failures.redact"  # dotted path: str -> str
    # Of payloads as they are shown; dotted path: (event's name, payload) -> payload
    redact_payload: str = "reliable_effects.outbox.redaction.redact_payload"
    trace_id: str = ""  # dotted path to () -> str: the caller's trace id, stored with each event
    release: str = ""  # your release's name, stored with each attempt that went wrong

    # Far-future jobs
    tick_period: timedelta = timedelta(seconds=15)  # how late a job may be found due
    tick_limit: int = 1000  # jobs of one table that one tick emits: what was missed comes by and by

    # The inbox: each message once
    inbox_retention: timedelta = timedelta(days=30)  # longer than any sender repeats a message

    # What is deleted one day, and what is measured
    retention_by_state: Mapping[str, timedelta | None] = field(default_factory=dict)
    instruments: tuple[str, ...] = ()  # "prometheus", "opentelemetry": each needs its extra

    # The way out: calls to partners
    outgoing_timeout: timedelta = timedelta(seconds=10)  # for an answer, where a call names none
    outgoing_connect_timeout: timedelta = timedelta(seconds=3)
    outgoing_answer_limit: int = 1024 * 1024  # bytes of an answer's body that are read
    outgoing_longest_wait: timedelta = timedelta(hours=1)  # a longer Retry-After is cut to it
    outgoing_margin_percent: int = 10  # of a partner's window, in which nothing is sent again

    # Alerts
    alert_period: timedelta = timedelta(minutes=1)
    alert_repeat: timedelta = timedelta(days=1)  # while it lasts, it is told again
    alert_late_after: timedelta = timedelta(minutes=5)  # how long a delivery may have been due
    alert_poison_count: int = 1  # poison pills of one effect, or
    alert_poison_age: timedelta = timedelta(days=1)  # one that has lain for longer
    alert_failure_percent: int = 25  # points by which an effect fails more than it used to, and
    alert_failure_count: int = 10  # failures at least, both in the last
    alert_failure_window: timedelta = timedelta(minutes=15)
    alert_paused_after: timedelta = timedelta(days=1)  # a pause without an end may be forgotten
    alert_mail_admins: bool = True  # where ADMINS names any
    alert_webhook: str = ""  # an address that gets a JSON POST; it is never logged
    alert_webhook_timeout: timedelta = timedelta(seconds=3)

    # Groups of failures
    grouping_period: timedelta = timedelta(seconds=30)  # until a new poison pill is in its group

    # The overview: small rows of what happened, every five minutes
    rollup_period: timedelta = timedelta(minutes=1)  # how often they are counted
    rollup_retention: timedelta = timedelta(days=14)

    # Back pressure
    shed_fresh_for: timedelta = timedelta(seconds=2)  # how old a look at a queue may be
    shed_patience: timedelta = timedelta(milliseconds=100)  # what a request waits for such a look
    shed_low_percent: int = 80  # of its limit, under which a queue must come to be open again

    # The way in: idempotency keys
    idempotency_lease: timedelta = timedelta(seconds=60)  # how long a view may hold its key
    idempotency_key_retention: timedelta = timedelta(hours=72)  # a repeated key is known so long
    idempotency_body_retention: timedelta = timedelta(hours=24)  # and its answer replayed so long
    idempotency_strict: bool = False  # only keys in double quotes, as the IETF draft wants them
    idempotency_replay_5xx: bool = False  # keep server errors too, and replay them
    idempotency_throttle_replays: bool = False  # REST framework: do replays spend a throttle?
    idempotency_response_limit: int = 1024 * 1024  # bytes of a response's body that are kept
    idempotency_request_limit: int = 16 * 1024 * 1024  # bytes of a request's body
    idempotency_not_stored: tuple[int, ...] = (401, 403, 407, 408, 413, 415, 425, 429)
    idempotency_headers: tuple[str, ...] = ()  # of responses, kept beside those that always are
    idempotency_markers: tuple[str, ...] = ("Idempotent-Replayed", "Idempotency-Replayed")
    idempotency_docs: str = ""  # the address where your API's rules for keys are told
    idempotency_prune_period: timedelta = timedelta(minutes=1)

    # Reports
    report_store: Mapping[str, Any] = field(  # where blobs are kept, said as in STORAGES
        default_factory=lambda: {"BACKEND": "reliable_effects.reports.FileReportStore"}
    )
    report_period: timedelta = timedelta(minutes=1)  # of the sweep that prebuilds, and tidies up
    report_rest: timedelta = timedelta(minutes=5)  # after a build that was given up; then doubled
    report_url_lifetime: timedelta = timedelta(minutes=2)  # of a signed address
    report_grace: timedelta = timedelta(hours=1)  # from unneeded to deleted: downloads end
    report_look: timedelta = timedelta(hours=6)  # between two looks whether a served blob is there
    report_orphan_after: timedelta = timedelta(days=1)  # no build is longer than this
    report_download_retention: timedelta = timedelta(days=365)  # of who downloaded what

    # Redriving many
    redrive_period: timedelta = timedelta(seconds=5)  # of the sweep that goes on with them
    redrive_canary: int = 10  # deliveries that have to end before more are released
    redrive_rate: int = 600  # deliveries released in a minute, where a person says no other number
    redrive_halt_percent: int = 50  # of the last that ended; when so many fail it halts by itself
    redrive_patience: timedelta = timedelta(minutes=10)  # how long one may be waited for
    redrive_retention: timedelta = timedelta(days=90)  # of which deliveries an operation had


def settings() -> Settings:
    """
    The project's settings.

    Raises:
        ImproperlyConfigured: a key is unknown, or a value has the wrong type; both are named.
    """
    return _read()


def trace_id_path() -> str:
    """The dotted path to what gives a trace id; "" where nothing does."""
    known = settings()
    return _TRACEPARENT if "opentelemetry" in known.instruments else known.trace_id


@cache
def _read() -> Settings:
    from django.conf import settings as project  # noqa: PLC0415  # not configured at import time

    given: Any = getattr(project, NAME, {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{NAME} is a {type(given).__name__}; it needs to be a dict.")
    defaults = Settings()
    kinds = {f.name.upper(): type(getattr(defaults, f.name)) for f in fields(Settings)}
    values: dict[str, Any] = {}
    for key, value in given.items():
        if key not in kinds:
            close = get_close_matches(str(key).upper(), kinds, n=1)
            did_you_mean = f" Did you mean {close[0]!r}?" if close else ""
            raise ImproperlyConfigured(f"Unknown key {key!r} in {NAME}.{did_you_mean}")
        values[key.lower()] = _checked(key, value, kinds[key])
    if values.get("trace_id") and "opentelemetry" in values.get("instruments", ()):
        problem = "INSTRUMENTS has 'opentelemetry', which keeps its own there; leave one out."
        raise _wrong("TRACE_ID", values["trace_id"], problem)
    return Settings(**values)


def _checked(key: str, value: Any, kind: type) -> Any:
    if kind is tuple and isinstance(value, list):
        value = tuple(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        example = " Write timedelta(seconds=…)." if kind is timedelta else ""
        raise _wrong(key, value, f"it needs to be a {kind.__name__}.{example}")
    if isinstance(value, timedelta) and value <= timedelta(0):
        raise _wrong(key, value, "it needs to be longer than zero.")
    if isinstance(value, timedelta) and value > LONGEST_SPAN:
        raise _wrong(key, value, f"it may be at most {LONGEST_SPAN.days} days.")
    if isinstance(value, int) and kind is int and value < 1:
        raise _wrong(key, value, "it needs to be at least 1.")
    if problem := _PROBLEMS.get(key, _none)(value):
        raise _wrong(key, value, problem)
    return value


def _wrong(key: str, value: Any, problem: str) -> ImproperlyConfigured:
    shown = "…" if key in _SECRET else repr(value)
    return ImproperlyConfigured(f"{NAME}[{key!r}] is {shown}; {problem}")


def _none(_value: Any) -> str:
    return ""


def _of_databases(aliases: tuple[Any, ...]) -> str:
    unknown = [alias for alias in aliases if alias not in connections.settings]
    if unknown or not aliases:
        named = repr(unknown[0]) if unknown else "none"
        return f"it names {named}; settings.DATABASES has {', '.join(connections)}."
    return ""


def _of_queue(name: str) -> str:
    return "" if 1 <= len(name) <= _LONGEST_QUEUE else f"1 to {_LONGEST_QUEUE} characters, please."


def _of_transport(name: str) -> str:
    if name in ("auto", "celery", "none") or "." in name:
        return ""
    return "it needs to be 'auto', 'celery', 'none', or a dotted path to send(queue, hint)."


def _of_address(address: str) -> str:
    try:
        is_web = urlsplit(address).scheme in ("http", "https") and urlsplit(address).hostname
    except ValueError:
        is_web = False
    return (
        ""
        if is_web or not address
        else "it needs to be an address that begins with https:// or http://."
    )


def _of_patience(span: timedelta) -> str:
    if span <= _LONGEST_PATIENCE:
        return ""
    return f"it may be at most {_LONGEST_PATIENCE.seconds} s: the other sweeps wait meanwhile."


def _of_count(count: int) -> str:
    return "" if count <= MOST_COUNTED else f"it may be at most {MOST_COUNTED}: counts end there."


def _of_redrive(count: int) -> str:
    return "" if count <= FASTEST_REDRIVE else f"it may be at most {FASTEST_REDRIVE}."


def _of_percent(points: int) -> str:
    return "" if points <= 100 else "it may be at most 100."  # noqa: PLR2004  # of a hundred


def _of_store(store: Mapping[Any, Any]) -> str:
    stray = [key for key in store if key not in ("BACKEND", "OPTIONS")]
    if stray or not isinstance(store.get("BACKEND"), str) or "." not in store["BACKEND"]:
        return "it needs 'BACKEND', the dotted path of a store, and may have 'OPTIONS', a dict."
    if not isinstance(store.get("OPTIONS", {}), Mapping):
        return "its 'OPTIONS' need to be a dict."
    return ""


def _of_url_lifetime(span: timedelta) -> str:
    if span <= _LONGEST_URL:
        return ""
    return f"it may be at most {_LONGEST_URL.seconds} s: whoever has such an address may read."


def _of_report_grace(span: timedelta) -> str:
    if span >= _LONGEST_URL:
        return ""
    return f"it needs at least {_LONGEST_URL.seconds} s: signed addresses may be as old."


def _of_path(path: str) -> str:
    return "" if "." in path else "it needs to be the dotted path of a function."


def _of_instruments(names: tuple[Any, ...]) -> str:
    for name in names:
        if name not in INSTRUMENTS:
            close = get_close_matches(str(name).lower(), INSTRUMENTS, n=1)
            did_you_mean = f" Did you mean {close[0]!r}?" if close else ""
            return f"there is no {name!r}; there are {', '.join(INSTRUMENTS)}.{did_you_mean}"
    return ""


def _of_statuses(statuses: tuple[Any, ...]) -> str:
    for status in statuses:
        if type(status) is not int or not 400 <= status <= 599:  # noqa: PLR2004  # errors
            return f"it names {status!r}; it needs status codes from 400 to 599."
    return ""


def _of_header_names(names: tuple[Any, ...]) -> str:
    for name in names:
        if not isinstance(name, str) or not _HEADER.fullmatch(name):
            return f"{name!r} is no name of a header."
    return ""


def _of_kept_headers(names: tuple[Any, ...]) -> str:
    if problem := _of_header_names(names):
        return problem
    secret = [name for name in names if is_secret_header(name)]
    return f"{secret[0]!r} is never kept: it may let somebody else in." if secret else ""


def is_secret_header(name: str) -> bool:
    """Whether a response's header is never kept, whatever a project sets: it is of one answer only."""
    lower = name.lower()
    return lower in _OF_ONE_ANSWER or any(part in lower for part in _SECRET_PARTS)


def _of_limit(size: int) -> str:
    return "" if size <= _LARGEST else f"it may be at most {_LARGEST}: rows are no file store."


def _of_answer(size: int) -> str:
    return "" if size <= _LARGEST else f"it may be at most {_LARGEST}: it is held in memory."


# What may have a retention of its own: what waits, runs or is uncertain is never deleted.
_OF_SKIPPED = ("NOT_NEEDED", "EXPIRED", "EFFECT_SKIPPED", "SUBJECT_GONE")
_OF_POISONED = (
    "ATTEMPTS_SPENT", "REFUSED", "KILLED_WORKERS", "TIMED_OUT", "UNKNOWN_EFFECT", "UNREADABLE",
    "SUBJECT_GONE", "SNOOZED_OUT", "STILL_OWED",
)  # fmt: skip
RETENTION_KEYS = (
    "SUCCEEDED",
    "CANCELLED",
    "SKIPPED",
    *(f"SKIPPED:{reason}" for reason in _OF_SKIPPED),
    "POISONED",
    *(f"POISONED:{reason}" for reason in _OF_POISONED),
)


def problem_of_retentions(spans: Mapping[Any, Any]) -> str:
    """What is wrong with *spans* by state, or by state and reason; "" where nothing is."""
    for key, span in spans.items():
        if key not in RETENTION_KEYS:
            close = get_close_matches(str(key).upper(), RETENTION_KEYS, n=1)
            meant = f"Did you mean {close[0]!r}?" if close else "Write 'SKIPPED:EXPIRED', for one."
            return f"{key!r} ends nothing that may be deleted by age. {meant}"
        if span is None:
            continue
        if not isinstance(span, timedelta) or span <= timedelta(0) or span > LONGEST_SPAN:
            return (
                f"{key!r} needs a positive timedelta of at most {LONGEST_SPAN.days} days, or None"
                " to keep them for ever."
            )
    return ""


_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.6.2
_OF_ONE_ANSWER = frozenset(
    {"set-cookie", "set-cookie2", "cookie", "authorization", "authentication-info"}
    | {"www-authenticate", "proxy-authenticate", "proxy-authorization", "proxy-authentication-info"}
    | {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-connection", "date", "server", "content-length"}
)
_SECRET_PARTS = ("token", "secret", "api-key", "apikey", "password", "session", "csrf")
_LONGEST_QUEUE = 100  # characters, in a row
INSTRUMENTS = {
    "prometheus": "reliable_effects.watch.prometheus",
    "opentelemetry": "reliable_effects.watch.tracing",
}
"""What may be in INSTRUMENTS, and the module that is it."""
_TRACEPARENT = f"{INSTRUMENTS['opentelemetry']}.traceparent"
_SECRET = ("ALERT_WEBHOOK", "REPORT_STORE")  # who knows such an address may post; a store has keys
_LONGEST_URL = timedelta(minutes=5)
_LONGEST_PATIENCE = timedelta(seconds=5)  # connecting and the answer may take as long each
_LARGEST = 16 * 1024 * 1024  # bytes

# What a type does not say. Paths are imported on first use: at this time apps may not be loaded.
_PROBLEMS: dict[str, Callable[[Any], str]] = {
    "DATABASES": _of_databases,
    "QUEUE": _of_queue,
    "TRANSPORT": _of_transport,
    "REDACT": _of_path,
    "REDACT_PAYLOAD": _of_path,
    "TRACE_ID": lambda path: path and _of_path(path),
    "ALERT_WEBHOOK": _of_address,
    "ALERT_WEBHOOK_TIMEOUT": _of_patience,
    "ALERT_POISON_COUNT": _of_count,
    "ALERT_FAILURE_PERCENT": _of_percent,
    "OUTGOING_MARGIN_PERCENT": _of_percent,
    "OUTGOING_ANSWER_LIMIT": _of_answer,
    "SHED_LOW_PERCENT": _of_percent,
    "REDRIVE_HALT_PERCENT": _of_percent,
    "REDRIVE_CANARY": _of_redrive,
    "REDRIVE_RATE": _of_redrive,
    "REPORT_STORE": _of_store,
    "REPORT_URL_LIFETIME": _of_url_lifetime,
    "REPORT_GRACE": _of_report_grace,
    "PAYLOAD_LIMIT": _of_limit,
    "ERROR_LIMIT": _of_limit,
    "RETENTION_BY_STATE": problem_of_retentions,
    "IDEMPOTENCY_RESPONSE_LIMIT": _of_limit,
    "IDEMPOTENCY_NOT_STORED": _of_statuses,
    "IDEMPOTENCY_HEADERS": _of_kept_headers,
    "IDEMPOTENCY_MARKERS": _of_header_names,
    "IDEMPOTENCY_DOCS": _of_address,
    "INSTRUMENTS": _of_instruments,
}


def _forget(*, setting: str, **_: Any) -> None:
    if setting == NAME:
        _read.cache_clear()


setting_changed.connect(_forget, dispatch_uid="reliable_effects.conf")
