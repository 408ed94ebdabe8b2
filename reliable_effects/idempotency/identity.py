"""Whose key it is, and for what: the scope in which a key is unique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from .digests import of_parts, of_user
from .options import Idempotency


@dataclass(frozen=True, slots=True)
class Identity:
    """`principal` is empty where no user of this project is behind the request."""

    scope: str
    principal: str
    operation: str  # for people
    route: str


def identify(request: Any, options: Idempotency) -> Identity | None:
    """
    Who asks for what; None where nobody knows who, and the view does not take such keys.

    *request* is one of Django's or of REST framework's, authenticated by now.
    """
    user = _user(request)
    parts: tuple[str, ...] | None
    if options.scope is not None:
        whose = options.scope(request)
        if not isinstance(whose, str):
            raise TypeError(f"scope= gave {type(whose).__name__}; it needs to give a str.")
        parts = ("scope", whose) if whose else None
    elif user is not None:
        parts = ("user", user)
    elif _is_known(request):
        # REST framework allows users that are no rows; only a scope can tell them apart.
        parts = None
    else:
        parts = ("anonymous",) if options.anonymous else None
    if parts is None:
        return None
    route = route_of(request)
    operation = options.operation or f"{request.method} {route}"
    scope = of_parts(operation, *parts)
    return Identity(scope, user or "", operation[:_LONGEST], route)


def route_of(request: HttpRequest) -> str:
    """The pattern that led to the view, so that its arguments belong to the fingerprint."""
    match = request.resolver_match
    route = match.route if match is not None else None
    return request.path_info if route is None else route


def _is_known(request: Any) -> bool:
    return bool(getattr(getattr(request, "user", None), "is_authenticated", False))


def _user(request: Any) -> str | None:
    """The hash of a row; None where the user is none."""
    if not _is_known(request):
        return None
    user = request.user
    meta = getattr(user, "_meta", None)
    if meta is None or user.pk is None:
        return None
    return of_user(meta.label_lower, str(user.pk))


_LONGEST = 200  # characters of an operation, in a row
