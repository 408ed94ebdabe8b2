"""A project that a test may spoil: its settings, its Celery app, its declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, _state
from django.core.checks import CheckMessage, run_checks

from reliable_effects.checks import TAG
from reliable_effects.effects.registry import registry
from reliable_effects.inbox import consuming
from reliable_effects.watch import shedding
from reliable_effects.watch.shedding import shed_load


class Project:
    """What the checks look at. All is as it was after the test."""

    def __init__(self, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = settings
        self.monkeypatch = monkeypatch
        self._apps: list[Celery] = []

    def set(self, **keys: Any) -> None:
        """Keys of RELIABLE_EFFECTS."""
        self.settings.RELIABLE_EFFECTS = {**self.settings.RELIABLE_EFFECTS, **keys}

    def use_celery(self, **conf: Any) -> None:
        """Make the project's app, as its celery.py does. Good but for what *conf* says."""
        self.set(TRANSPORT="celery")
        app = Celery("project", broker="redis://localhost:1/0")
        app.conf.update(conf)
        app.autodiscover_tasks()
        self._apps.append(app)

    def limit(self, **options: Any) -> None:
        """A view that sheds load."""
        self.monkeypatch.setattr(shedding, "declared", [])
        shed_load(**options)(lambda _request: None)

    def checked(self) -> list[CheckMessage]:
        return run_checks(
            tags=[TAG], include_deployment_checks=True, databases=["default", "other"]
        )

    def found(self, id_: str) -> list[CheckMessage]:
        return [message for message in self.checked() if message.id == f"reliable_effects.{id_}"]

    def close(self) -> None:
        for app in self._apps:
            app.close()


@pytest.fixture
def project(settings, monkeypatch) -> Iterator[Project]:
    current, default = _state._tls.current_app, _state.default_app
    made = Project(settings, monkeypatch)
    with registry.scratch(), consuming.scratch():
        yield made
    made.close()
    _state._tls.current_app, _state.default_app = current, default
