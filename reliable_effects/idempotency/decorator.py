"""
`@idempotent`: a view that a client may ask twice, and that acts once.

It stands right above the view, below whatever checks who may come in, so that a replay passes
today's checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar, Unpack, overload

from asgiref.sync import iscoroutinefunction
from django.db import connections, transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from .begin import SAFE, begin, early_problem, wants_a_key
from .execution import Execution
from .handle import Handle
from .options import Idempotency, Options

View = TypeVar("View", bound=Callable[..., HttpResponseBase])


@overload
def idempotent(view: View, /) -> View: ...
@overload
def idempotent(view: None = None, /, **options: Unpack[Options]) -> Callable[[View], View]: ...


def idempotent(view: Any = None, /, **options: Any) -> Any:
    """
    Run *view* once for each idempotency key, and give its answer again to who repeats the request.

    As `@idempotent` or as `@idempotent(required=True, …)`; the options are those of `Idempotency`.
    On a class: `@method_decorator(idempotent(…), name="post")` on what stands behind its
    permissions, or `IdempotentView` among its bases.

    Raises:
        TypeError: an option is unknown, or *view* is an `async def`, or one of REST framework's.
    """
    rules = Idempotency(**options)
    return _decorated(view, rules) if view is not None else lambda view: _decorated(view, rules)


def _decorated(view: Callable[..., Any], options: Idempotency) -> Callable[..., Any]:
    name = getattr(view, "__qualname__", repr(view))
    refuse_async(view, name)
    if hasattr(view, "cls") or _is_of_rest_framework(view):
        raise _of_rest_framework(name)
    using = options.alias()

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        return answer(request, options, using, name, lambda: view(request, *args, **kwargs))

    mark_non_atomic(answered, using)
    answered.idempotency = options  # type: ignore[attr-defined]  # for the checks
    return answered


def answer(
    request: HttpRequest,
    options: Idempotency,
    using: str,
    name: str,
    view: Callable[[], HttpResponseBase],
) -> HttpResponseBase:
    """What *view* returns, or returned before."""
    if not isinstance(request, HttpRequest):
        raise _of_rest_framework(name)
    request.idempotency = None  # type: ignore[attr-defined]  # ours
    if not wants_a_key(request, options):
        is_atomic = is_atomic_without_key(request, using)
        with transaction.atomic(using=using) if is_atomic else nullcontext():
            return view()
    if (problem := early_problem(request, options)) is not None:
        return problem.answer()
    begun = begin(request, options, using, name)
    if not isinstance(begun, Handle):
        return begun
    execution = Execution(request, begun)
    execution.start()
    try:
        response = view()
    except BaseException as error:  # noqa: BLE001  # the key must be let go; it is raised again
        return execution.fail(error)
    return execution.end(response)


def is_atomic_without_key(request: HttpRequest, using: str) -> bool:
    """
    Whether a request that has no key runs in a transaction.

    One that may change something does, so that the view's code finds the same with a key and
    without. Others do where ATOMIC_REQUESTS says so: we have kept Django's away.
    """
    is_asked_for: bool = connections[using].settings_dict["ATOMIC_REQUESTS"]
    return request.method not in SAFE or is_asked_for


def refuse_async(view: Any, name: str) -> None:
    """
    Django has no transaction for `async def`, and without one neither have we.

    Raises:
        TypeError: *view* is an `async def`.
    """
    if iscoroutinefunction(view):
        raise TypeError(
            f"{name} is an async def, and Django has no transaction there. Write it as a def: under"
            " ASGI Django runs it in a thread. What has to be awaited can be an effect."
        )


def _is_of_rest_framework(view: Any) -> bool:
    """Whether *view* is `dispatch` of one of its classes, as method_decorator() hands it over."""
    method = getattr(view, "func", view)
    return hasattr(getattr(method, "__self__", None), "initialize_request")


def _of_rest_framework(name: str) -> TypeError:
    # Its exceptions become answers, and its answers bytes, outside of what is decorated here.
    return TypeError(
        f"{name} is a view of REST framework, which decides who may come in and what an exception"
        " means. Write it as a class with IdempotentMixin (reliable_effects.rest_framework)."
    )


def mark_non_atomic(view: Any, using: str) -> None:
    """Keep ATOMIC_REQUESTS away from *view*: its key is claimed before its transaction begins."""
    marked: Iterable[str] = getattr(view, _MARK, ())
    # A set of its own: functools.wraps() has copied that of the view, which is not ours to change.
    setattr(view, _MARK, {*marked, using})


def is_marked(view: Any, using: str) -> bool:
    """Whether Django keeps its own transaction on *using* away from *view*."""
    return using in getattr(view, _MARK, ())


_MARK = "_non_atomic_requests"  # as django.db.transaction.non_atomic_requests writes it
