"""The answer of a view that has emitted: 202, and where to ask how it goes."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import unquote, urlsplit
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.urls import get_script_prefix, resolve
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from ..effects.registry import Emitted
from ..outbox.models import OutboxEvent
from .status import EffectStatusViewSet


def accepted(emitted: Emitted | OutboxEvent | UUID, request: Request, *, route: str) -> Response:
    """
    202 with the status document of *emitted*, its address in `Location` and `Operation-Location`.

    *route* is the `basename=` under which the router has the `EffectStatusViewSet`. It may be
    called inside the transaction that has emitted: a stored answer replayed later is the same.

    Raises:
        ImproperlyConfigured: *route* leads to something else.
    """
    id_ = emitted.event_id if isinstance(emitted, Emitted) else getattr(emitted, "pk", emitted)
    address = reverse(f"{route}-detail", kwargs={"id": str(id_)}, request=request)
    view = _view_of(address, route, request)
    document = view.document_of(cast("UUID", id_))
    headers = {"Location": address, "Operation-Location": address}
    if document.retry_after is not None:
        headers["Retry-After"] = str(document.retry_after)
    body = view.serialised(document)
    return Response(body, status=status.HTTP_202_ACCEPTED, headers=headers)


def _view_of(address: str, route: str, request: Request) -> EffectStatusViewSet:
    path = "/" + unquote(urlsplit(address).path).removeprefix(get_script_prefix())
    match = resolve(path)
    found: Any = match.func
    cls = getattr(found, "cls", None)
    if cls is None or not issubclass(cls, EffectStatusViewSet):
        raise ImproperlyConfigured(
            f"route={route!r} leads to {cls or found!r}, which is no EffectStatusViewSet."
            f' router.register("…", YourStatus, basename={route!r})'
        )
    view: EffectStatusViewSet = cls(**found.initkwargs)
    view._namespace = match.namespace  # noqa: SLF001  # it need not be that of the request
    view.request, view.args, view.kwargs, view.format_kwarg = request, (), {}, None
    return view
