"""
Spans for OpenTelemetry: `RELIABLE_EFFECTS = {"INSTRUMENTS": ["opentelemetry"]}`.

Each event is written with the W3C traceparent of the span that emits it, and each run of an effect
is a span below that one, however much later and in whichever process it runs. Where a span is open
in the worker already (of its Celery task, say), that one is linked.

Of what goes wrong the span has the exception's type, and neither its message nor a payload.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..outbox import instruments
from ..outbox.claimed import Claimed

logger = logging.getLogger("reliable_effects")

_w3c = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("reliable_effects")  # asks for the project's provider when it is used

_NO_ERROR = ("returned", "snoozed", "skipped")


def start() -> None:
    """Trace the effects of this process from now on. Twice is once."""
    instruments.instrument(_traced)


def stop() -> None:
    instruments.take_out(_traced)


def traceparent() -> str:
    """Which span is open here, as W3C's header says it; "" where none is. What events keep."""
    carrier: dict[str, str] = {}
    _w3c.inject(carrier)
    return carrier.get("traceparent", "")


@contextmanager
def _traced(claimed: Claimed) -> Iterator[None]:
    # Tracing is foreign code as well: what it raises must not become the effect's failure.
    span = token = None
    try:
        span = _begin(claimed)
        token = contexts.attach(trace.set_span_in_context(span))
    except Exception:
        logger.exception("could not begin a span; the effect runs without")
    raised: BaseException | None = None
    try:
        yield
    except BaseException as error:
        raised = error
        raise
    finally:
        try:
            if token is not None:
                contexts.detach(token)
            if span is not None:
                _end(span, raised)
        except Exception:
            logger.exception("could not end a span")


def _begin(claimed: Claimed) -> Span:
    here = trace.get_current_span().get_span_context()
    stored = claimed.event.trace_id if claimed.event is not None else ""
    parent = _w3c.extract({"traceparent": stored}, context=Context()) if stored else None
    if parent is not None and not trace.get_current_span(parent).get_span_context().is_valid:
        parent = None  # somebody else's id, or from before
    linked = [Link(here)] if parent is not None and here.is_valid else []
    name = claimed.effect.name
    return _tracer.start_span(
        f"verify {name}" if claimed.verifying else name,
        context=parent,
        kind=SpanKind.CONSUMER,
        links=linked,
        attributes={
            "messaging.system": "reliable_effects",
            "messaging.operation.type": "process",
            "messaging.destination.name": claimed.queue,
            "reliable_effects.effect": name,
            "reliable_effects.delivery_id": claimed.id,
            "reliable_effects.database": claimed.using,
            "reliable_effects.attempt": claimed.attempt,
            "reliable_effects.verifying": claimed.verifying,
        },
    )


def _end(span: Span, raised: BaseException | None) -> None:
    outcome = instruments.outcome_of(raised)
    span.set_attribute("reliable_effects.outcome", outcome)
    if raised is not None and outcome not in _NO_ERROR:
        kind = f"{type(raised).__module__}.{type(raised).__qualname__}"
        # Not record_exception(): its message and traceback may hold what is nobody's business.
        span.add_event("exception", {"exception.type": kind})
        span.set_attribute("error.type", kind)
        span.set_status(Status(StatusCode.ERROR, kind))
    span.end()
