"""A shop whose orders have ten side effects each, and what it takes to run it on one machine."""

from __future__ import annotations

try:
    from example_project.celery import app as celery_app
except ImportError:  # Celery is optional: `effects_worker` needs none
    celery_app = None

__all__ = ["celery_app"]
