"""
Idempotency keys for views and viewsets of REST framework.

The key is looked at in `initial()`, after authentication and permissions, so a replay passes
today's. Throttles are asked for what is no replay; a client that was throttled would not know.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.request import Request
from rest_framework.views import APIView

from ..idempotency.answers import rendered
from ..idempotency.begin import begin, early_problem, wants_a_key
from ..idempotency.decorator import is_atomic_without_key, mark_non_atomic, refuse_async
from ..idempotency.execution import Execution
from ..idempotency.handle import Handle
from ..idempotency.options import Idempotency
from ..idempotency.problems import Problem


# OpenAPI has this docstring where a view has none of its own.
# `class Orders(IdempotentMixin, ModelViewSet): …`, with the options in `idempotency`; one view may
# have others for one of its actions: override `get_idempotency`.
class IdempotentMixin(APIView):
    """Sent again under the same Idempotency-Key, a request acts once and gets the same answer."""

    idempotency: ClassVar[Idempotency] = Idempotency()

    _execution: Execution | None = None
    _problem: Problem | None = None

    def get_idempotency(self) -> Idempotency:
        """The options for this request; the alias (`using`) is that of the class."""
        return self.idempotency

    @classmethod
    def as_view(cls, *args: Any, **kwargs: Any) -> Any:  # a viewset's takes its actions
        view = super().as_view(*args, **kwargs)
        for method in (*cls.http_method_names, *getattr(view, "actions", {}).values()):
            refuse_async(getattr(cls, method, None), f"{cls.__qualname__}.{method}")
        options: Idempotency = kwargs.get("idempotency", cls.idempotency)
        mark_non_atomic(view, options.alias())
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.idempotency = None  # type: ignore[attr-defined]  # ours
        self._name_action(request)
        self._execution = self._problem = None
        if not self._is_for_us(request):
            return self._dispatch_without_key(request, *args, **kwargs)
        self._problem = early_problem(request, self.get_idempotency())
        try:
            response = super().dispatch(request, *args, **kwargs)
        except BaseException as error:
            if self._execution is None:
                raise
            return self._execution.fail(error)
        if self._execution is None:
            return response
        # An exception that REST framework has made a response of was to roll back, and does.
        return self._execution.end(response, roll_back=getattr(response, "exception", False))

    def _dispatch_without_key(
        self, request: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        using = self.idempotency.alias()
        if not is_atomic_without_key(request, using):
            return super().dispatch(request, *args, **kwargs)
        with transaction.atomic(using=using):
            response = super().dispatch(request, *args, **kwargs)
            if getattr(response, "exception", False):
                transaction.set_rollback(True, using=using)  # as with ATOMIC_REQUESTS
            return response

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if not self._is_for_us(request):
            super().initial(request, *args, **kwargs)
            return
        options = self.get_idempotency()
        if not options.throttles_replays:  # they are asked later, in `_admit`
            self.__dict__["check_throttles"] = lambda _request: None
        try:
            super().initial(request, *args, **kwargs)
        finally:
            self.__dict__.pop("check_throttles", None)
        if self._problem is not None:
            self._give(self._problem.answer())
            return

        def rendered_here(response: Any) -> HttpResponseBase:
            """As if the view had returned it: data of REST framework want its renderer."""
            return rendered(self.finalize_response(request, response, *args, **kwargs))

        begun = begin(
            request,
            options,
            self.idempotency.alias(),
            type(self).__qualname__,
            admit=lambda: self._admit(request, options),
            check_replay=lambda: self.check_replay(request),
            render=rendered_here,
        )
        if not isinstance(begun, Handle):
            self._give(begun)
            return
        plain = request._request  # noqa: SLF001  # Django's own: REST framework has no other way to it
        plain.idempotency = begun  # type: ignore[attr-defined]  # ours
        execution = Execution(plain, begun)
        execution.start()
        self._execution = execution

    def check_replay(self, request: Request) -> None:
        """
        Called before a stored answer is given: raise PermissionDenied to keep it back.

        The view does not run for a replay, so permissions that it asks of an object are not asked.
        """

    def _admit(self, request: Request, options: Idempotency) -> None:
        if not options.throttles_replays:
            self.check_throttles(request)

    def _name_action(self, request: HttpRequest) -> None:
        """A viewset does so itself, but only after we have asked for the options."""
        actions = getattr(self, "action_map", None)
        if actions is not None:
            method = str(request.method).lower()
            self.action = "metadata" if method == "options" else actions.get(method)

    def _is_for_us(self, request: Any) -> bool:
        method = str(request.method).lower()
        if method not in self.http_method_names or not hasattr(self, method):
            return False  # 405 needs no key
        return wants_a_key(request, self.get_idempotency())

    def _give(self, response: HttpResponseBase) -> None:
        """In place of this request's handler, as viewsets put theirs."""
        handler = str(self.request.method).lower()
        setattr(self, handler, lambda *_args, **_kwargs: response)
