"""
Metrics for Prometheus: `RELIABLE_EFFECTS = {"INSTRUMENTS": ["prometheus"]}`.

Counters and histograms are of what this process does, in prometheus_client's default registry, so
that whoever serves that (django-prometheus, say) serves them. Gauges are read from the database
when they are asked for: at most every quarter of a minute, and a scrape waits for it two seconds.

Labels are names that the project declares (effects, events, queues) and words of ours.
"""

from __future__ import annotations

import os

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from . import counting
from .standing import Standing

_STANDING = Standing()
_registered: list[Collector] = []


def start() -> None:
    """Measure in this process from now on. Twice is once."""
    counting.start()
    if _STANDING not in _registered:
        REGISTRY.register(_STANDING)
        _registered.append(_STANDING)


def stop() -> None:
    """As if it had never been started; what was counted stays."""
    counting.stop()
    while _registered:
        REGISTRY.unregister(_registered.pop())


def everything() -> CollectorRegistry:
    """
    What to serve: the default registry, or in prometheus_client's multiprocess mode (Celery's
    prefork pool, Gunicorn) the sum over all processes, and the gauges.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # theirs
    registry.register(_STANDING)
    return registry
