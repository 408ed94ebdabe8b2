"""How each route is guarded: the options are those of @idempotent and of Idempotency()."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from example_project.conformance import handlers


@dataclass(frozen=True)
class Route:
    path: str
    handler: Callable[..., Any]
    options: dict[str, Any] = field(default_factory=dict)
    method: str = "POST"
    permission: str = ""  # who has it may call, nobody else


_OPEN = {"required": True, "anonymous": True}  # most cases have no user
_QUICK = timedelta(seconds=2)  # so that a killed worker's lease ends within the test
_ROUTES = [
    # The public contract.
    Route("echo", handlers.echo),
    Route("status/<int:code>", handlers.status),
    Route("slow", handlers.slow),
    Route("large", handlers.large),
    Route("counter", handlers.counter, method="GET"),
    # Ours.
    Route("optional", handlers.echo, {"required": False}),
    Route("strict", handlers.echo, {"strict": True}),
    Route("json", handlers.echo, {"fingerprint": "json"}),
    Route("kept/<int:code>", handlers.status, {"replay_5xx": True}),
    Route("first/<int:code>", handlers.first),
    Route("upload", handlers.upload),
    Route("binary", handlers.binary),
    Route("stream", handlers.stream),
    Route("cookie", handlers.cookie),
    Route("db", handlers.db, {"lease": _QUICK}),
    Route("raise", handlers.raise_),
    Route("raise-once", handlers.raise_once),
    Route("outlive", handlers.outlive, {"lease": timedelta(seconds=1)}),
    Route("foreign", handlers.foreign, {"lease": _QUICK, "foreign": True}),
    Route("brief", handlers.echo, {"key_retention": _QUICK, "body_retention": _QUICK}),
    Route("forgetful", handlers.echo, {"body_retention": _QUICK}),
    # These two know who is asking.
    Route("members", handlers.echo, {"anonymous": False}),
    Route("secret", handlers.secret, {"anonymous": False}, permission="conformance.see_secret"),
]
ROUTES = [
    Route(route.path, route.handler, _OPEN | route.options, route.method, route.permission)
    for route in _ROUTES
]
