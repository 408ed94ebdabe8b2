"""What is measured, as Prometheus would read it, and the spans of a real OpenTelemetry SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from reliable_effects.watch import prometheus, tracing
from tests.forgetting import forget_rows
from tests.outbox.conftest import make_effect  # noqa: F401  # a fixture

Labels = tuple[tuple[str, str], ...]


@pytest.fixture(autouse=True)
def _this_process_remembers_nothing() -> None:
    forget_rows()


def samples(text: str) -> dict[tuple[str, Labels], float]:
    """What an exporter's text says: (name, labels) to value, of our metrics."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("reliable_effects_")
    }


def exported(registry: CollectorRegistry = REGISTRY) -> dict[tuple[str, Labels], float]:
    return samples(generate_latest(registry).decode())


def named(name: str, **labels: str) -> tuple[str, Labels]:
    return f"reliable_effects_{name}", tuple(sorted(labels.items()))


@pytest.fixture
def measuring() -> Iterator[Callable[..., float]]:
    """This process measures; `measuring("run_seconds_count", effect=…)` is by how much it grew."""
    prometheus.start()
    before = exported()

    def grown(name: str, **labels: str) -> float:
        key = named(name, **labels)
        return exported().get(key, 0.0) - before.get(key, 0.0)

    yield grown
    prometheus.stop()


class _Breakable(SpanProcessor):
    """Somebody's processor of spans, which may have a bad day."""

    is_broken = False

    def on_start(self, span: object, parent_context: object = None) -> None:  # noqa: ARG002  # theirs
        if self.is_broken:
            raise RuntimeError("the collector's queue is full")

    def on_end(self, span: ReadableSpan) -> None:  # noqa: ARG002  # theirs
        if self.is_broken:
            raise RuntimeError("the collector's queue is full")


class Spans:
    """What was exported, in the order of its end."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.processor = _Breakable()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.provider.add_span_processor(self.processor)

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def of(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def clear(self) -> None:
        self._exporter.clear()


@pytest.fixture(scope="session")
def _provider() -> Spans:
    spans = Spans()
    trace.set_tracer_provider(spans.provider)  # OpenTelemetry lets it be set once
    return spans


@pytest.fixture
def spans(_provider: Spans, settings) -> Iterator[Spans]:
    """This process traces, with the real SDK."""
    settings.RELIABLE_EFFECTS = {"TRANSPORT": "none", "INSTRUMENTS": ["opentelemetry"]}
    tracing.start()
    _provider.clear()
    yield _provider
    _provider.processor.is_broken = False
    tracing.stop()
