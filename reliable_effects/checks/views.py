"""Idempotent views of the project, as its URLs reach them: whom they let in, and in which transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings as project
from django.core.checks import CheckMessage, register
from django.db import connections
from django.urls import URLPattern, get_resolver

from ..idempotency.decorator import is_marked
from ..idempotency.options import Idempotency
from ..idempotency.view import IdempotentView
from .catalogue import TAG, found
from .project import readable_settings

_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


@register(TAG)
def check_idempotent_views(**_: Any) -> list[CheckMessage]:
    if readable_settings() is None or not getattr(project, "ROOT_URLCONF", None):
        return []
    seen: dict[Any, None] = dict.fromkeys(_callbacks(get_resolver().url_patterns))
    return [message for callback in seen for message in _problems(callback)]


def _callbacks(patterns: Any) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLPattern):
            yield pattern.callback
        else:
            yield from _callbacks(pattern.url_patterns)


def _problems(callback: Any) -> Iterator[CheckMessage]:
    view_class = getattr(callback, "view_class", None)
    rest_class = getattr(callback, "cls", None)  # of REST framework
    name = getattr(view_class or rest_class or callback, "__qualname__", repr(callback))
    if rest_class is not None and _is_decorated(callback, rest_class):
        yield found(
            "E084",
            f"{rest_class.__name__} is a view of REST framework under @idempotent, which cannot know"
            " whom it lets in: each of its requests fails.",
            f"class {rest_class.__name__}(IdempotentMixin, APIView): from reliable_effects.rest_framework",
            obj=callback,
        )
        return
    for options in _options(callback, view_class or rest_class):
        yield from _of_database(callback, name, options)
        if rest_class is None:
            yield from _of_identity(callback, name, options)
    if view_class is not None and _lets_in_later(callback, view_class):
        yield found(
            "E081",
            f"{name} gives stored answers before it asks who may come in.",
            f"class {name}(LoginRequiredMixin, IdempotentView): permissions to the left",
            obj=callback,
        )


def _options(callback: Any, class_: Any) -> set[Idempotency]:
    """What is said of the view itself, or of one of its methods."""
    # as_view(idempotency=…) takes the place of what the class says.
    given = getattr(callback, "view_initkwargs", None) or getattr(callback, "initkwargs", {})
    of_class = given.get("idempotency", getattr(class_, "idempotency", None))
    return {
        options
        for options in (of_class, *map(_said_of, (callback, *_methods(callback, class_))))
        if isinstance(options, Idempotency)
    }


def _said_of(place: Any) -> Any:
    return getattr(place, "idempotency", None)


def _methods(callback: Any, class_: Any) -> list[Any]:
    """Those that answer requests; of a viewset its actions."""
    actions = getattr(callback, "actions", None) or {}
    names = [*getattr(class_, "http_method_names", ()), *actions.values()]
    return [getattr(class_, name) for name in names if hasattr(class_, name)]


def _is_decorated(callback: Any, rest_class: Any) -> bool:
    methods = _methods(callback, rest_class)
    # @api_view keeps the function that it was given in the closure of each method.
    cells = [cell for method in methods for cell in getattr(method, "__closure__", None) or ()]
    places = (callback, *methods, *(cell.cell_contents for cell in cells))
    return any(isinstance(_said_of(place), Idempotency) for place in places)


def _of_database(callback: Any, name: str, options: Idempotency) -> Iterator[CheckMessage]:
    using = options.alias()
    known = readable_settings()
    if known is not None and using not in known.databases:
        yield found(
            "E080",
            f"{name} keeps its idempotency records on {using!r}, which nobody sweeps.",
            f'RELIABLE_EFFECTS = {{"DATABASES": {[*known.databases, using]!r}}}',
            obj=callback,
        )
    elif connections[using].settings_dict["ATOMIC_REQUESTS"] and not is_marked(callback, using):
        yield found(
            "E082",
            f"{name} runs inside ATOMIC_REQUESTS of {using!r}, so its keys cannot be claimed"
            " before it: each request with one would fail.",
            '@method_decorator(transaction.non_atomic_requests, name="dispatch")',
            obj=callback,
        )


def _of_identity(callback: Any, name: str, options: Idempotency) -> Iterator[CheckMessage]:
    if (
        options.scope is None
        and not options.anonymous
        and _AUTHENTICATION not in project.MIDDLEWARE
    ):
        yield found(
            "W083",
            f"{name} takes keys of users, and no middleware says who they are: all are refused.",
            "@idempotent(scope=lambda request: …)",
            obj=callback,
        )


def _lets_in_later(callback: Any, class_: type) -> bool:
    """Whether a permission is asked inside of what gives stored answers."""
    if not apps.is_installed("django.contrib.auth"):
        return False
    # Not at the top: it imports models that a project may do without.
    from django.contrib.auth.mixins import AccessMixin  # noqa: PLC0415

    order = class_.__mro__
    if AccessMixin not in order:
        return False
    if IdempotentView in order:
        return order.index(IdempotentView) < order.index(AccessMixin)
    return hasattr(callback, "idempotency")  # all of the class is inside of what is decorated
