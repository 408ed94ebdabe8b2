"""One trace from the request to its effects, by the real SDK, and with nothing that is private."""

from __future__ import annotations

import pytest
from django.db import transaction
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from reliable_effects import Backoff, Poison, Skip, Snooze, Uncertain
from reliable_effects.outbox import remedy
from reliable_effects.outbox.models import Delivery, OutboxEvent
from reliable_effects.outbox.states import State
from reliable_effects.testing import assert_crash_safe, run_effects
from reliable_effects.watch import tracing
from tests.outbox.conftest import (
    carry_out,
    pending_delivery,
    raising,
    uncertain_delivery,
    write_down,
)
from tests.shop.events import order_placed, order_seen
from tests.shop.models import LedgerEntry, Order

pytestmark = pytest.mark.django_db(transaction=True)

request = trace.get_tracer("tests").start_as_current_span


def promised(effect, *, inside="POST /orders") -> Delivery:
    """Owed from inside a request that is traced."""
    with request(inside), transaction.atomic():
        effect.promise(Order.objects.create())
    return Delivery.objects.latest("pk")


# One trace


def test_an_effect_is_a_span_below_the_request_that_emitted_it(spans, make_effect):
    """Whoever looks at the request sees what it set going, in another process and later."""
    effect = make_effect(queue="mail")
    row = promised(effect)

    carry_out(row)

    (above,), (span,) = spans.of("POST /orders"), spans.of(effect.name)
    assert span.context.trace_id == above.context.trace_id
    assert span.parent.span_id == above.context.span_id
    assert span.parent.is_remote
    assert span.kind == SpanKind.CONSUMER
    assert span.status.status_code == StatusCode.UNSET
    assert dict(span.attributes) == {
        "messaging.system": "reliable_effects",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "reliable_effects.effect": effect.name,
        "reliable_effects.delivery_id": row.pk,
        "reliable_effects.database": "default",
        "reliable_effects.attempt": 1,
        "reliable_effects.verifying": False,
        "reliable_effects.outcome": "returned",
    }


def test_each_attempt_is_a_span_of_the_same_trace(spans, make_effect):
    """A redrive a week later as well."""
    effect = make_effect(raising(OSError()), max_attempts=2)
    row = promised(effect)
    carry_out(row)
    carry_out(row)
    remedy.redrive(Delivery.objects.filter(pk=row.pk), by="anna", why="it is back")

    carry_out(row)

    attempts = spans.of(effect.name)
    assert [span.attributes["reliable_effects.attempt"] for span in attempts] == [1, 2, 1]
    assert len({span.context.trace_id for span in spans.all()}) == 1


def test_what_an_effect_emits_goes_on_below_it(spans, make_effect):
    """A chain of effects is one trace."""

    def emits(order, _):
        with transaction.atomic():
            order_seen.emit(order)

    first = make_effect(emits)
    second = make_effect(on=order_seen)
    carry_out(promised(first))

    carry_out(Delivery.objects.get(effect=second.name))

    (above,), (below,) = spans.of(first.name), spans.of(second.name)
    assert below.parent.span_id == above.context.span_id


def test_the_span_that_is_open_in_the_worker_is_linked(spans, make_effect):
    """That of a Celery task, say, which carried the hint."""
    effect = make_effect()
    row = promised(effect)

    with request("run/reliable_effects.deliver"):
        carry_out(row)

    (task,), (span,) = spans.of("run/reliable_effects.deliver"), spans.of(effect.name)
    assert [link.context.span_id for link in span.links] == [task.context.span_id]
    assert span.context.trace_id != task.context.trace_id


@pytest.mark.parametrize(
    "stored", ["", "no traceparent", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"]
)
def test_without_a_trace_to_join_it_is_below_what_is_open_here(stored, spans, make_effect):
    """Of an event from before, a cron job, or another release's own id."""
    effect = make_effect()
    row = pending_delivery(effect, event={"trace_id": stored})

    with request("cron"):
        carry_out(row)

    (above,), (span,) = spans.of("cron"), spans.of(effect.name)
    assert span.parent.span_id == above.context.span_id
    assert not span.links


def test_outside_of_any_span_nothing_is_stored_and_the_effect_begins_a_trace(spans, make_effect):
    """Most commands are not traced."""
    effect = make_effect()
    with transaction.atomic():
        effect.promise(Order.objects.create())
    row = Delivery.objects.get()

    carry_out(row)

    (span,) = spans.of(effect.name)
    assert OutboxEvent.objects.get().trace_id == ""
    assert span.parent is None


def test_a_request_that_is_not_sampled_has_effects_that_are_not(spans, make_effect):
    """The decision travels with the trace."""
    effect = make_effect()
    unsampled = f"00-{'a' * 32}-{'b' * 16}-00"

    carry_out(pending_delivery(effect, event={"trace_id": unsampled}))

    assert not spans.of(effect.name)


def test_verify_has_a_span_of_its_own_name(spans, make_effect):
    """It is a question, and no second run."""
    effect = make_effect(verify=lambda *_: True)

    carry_out(uncertain_delivery(effect))

    (span,) = spans.all()
    assert span.name == f"verify {effect.name}"
    assert span.attributes["reliable_effects.verifying"]


# What it says of the end


@pytest.mark.parametrize(
    ("error", "outcome", "is_error"),
    [
        (Snooze(Backoff().first), "snoozed", False),
        (Skip("why"), "skipped", False),
        (Poison("why"), "refused", True),
        (Uncertain("why"), "uncertain", True),
        (OSError("why"), "failed", True),
        (SystemExit("why"), "broken off", True),
    ],
)
def test_the_outcome_is_told(error, outcome, is_error, spans, make_effect):
    """And an error is one only where something is wrong."""
    for atomic in (False, True):
        carry_out(pending_delivery(make_effect(raising(error), atomic=atomic)))

    for span in spans.all():
        assert span.attributes["reliable_effects.outcome"] == outcome
        assert (span.status.status_code == StatusCode.ERROR) == is_error
    assert len(spans.all()) == 2


def test_neither_message_nor_payload_leaves_the_house(spans, make_effect):
    """Spans go to another company."""
    effect = make_effect(raising(LookupError("no Ada")))

    carry_out(pending_delivery(effect, payload={"name": "Ada"}))

    (span,) = spans.all()
    assert [dict(event.attributes) for event in span.events] == [
        {"exception.type": "builtins.LookupError"}
    ]
    assert span.attributes["error.type"] == "builtins.LookupError"
    assert "Ada" not in span.to_json()


# What it must not do


def test_a_tracer_that_fails_fails_no_effect(spans, make_effect, caplog):
    """It is foreign code beside foreign code."""
    spans.processor.is_broken = True
    row = pending_delivery(make_effect())

    carry_out(row)

    assert row.state == State.SUCCEEDED
    assert "could not begin a span" in caplog.text


def test_a_tracer_that_fails_at_the_end_undoes_nothing(spans, make_effect, caplog):
    """It was done, and would be done again."""

    def breaks_it(order, ctx):
        spans.processor.is_broken = True
        write_down(order, ctx)

    row = pending_delivery(make_effect(breaks_it))

    carry_out(row)

    assert row.state == State.SUCCEEDED
    assert "could not end a span" in caplog.text


@pytest.mark.usefixtures("spans")
def test_a_tracer_that_fails_at_emit_writes_the_event_without(make_effect, monkeypatch):
    """The order matters more than its trace."""

    class Broken:
        def inject(self, _: object) -> None:
            raise RuntimeError

    monkeypatch.setattr(tracing, "_w3c", Broken())

    promised(make_effect())

    assert OutboxEvent.objects.get().trace_id == ""


def test_effects_in_tests_are_traced_as_on_a_worker(spans):
    """`run_effects` and `assert_crash_safe` surround them, too, and inside."""
    order = Order.objects.create()
    with request("POST /orders"), transaction.atomic():
        order_placed.emit(order)

    run_effects()

    traces = {span.context.trace_id for span in spans.all() if span.name.startswith("shop.")}
    assert traces == {spans.of("POST /orders")[0].context.trace_id}
    assert LedgerEntry.objects.filter(what="charge").exists()


def test_a_killed_effect_passes_through(spans, make_effect):
    """What kills in tests is no exception that may be swallowed."""

    def once(order, ctx):
        LedgerEntry.objects.get_or_create(order_pk=order.pk, what="x", key=ctx.idempotency_key)

    effect = make_effect(once)

    assert_crash_safe(effect, Order.objects.create())

    assert {span.attributes["reliable_effects.outcome"] for span in spans.of(effect.name)} == {
        "returned",
        "broken off",
    }
