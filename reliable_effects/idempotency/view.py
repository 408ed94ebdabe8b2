"""For classes of Django's own `View`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views import View

from .decorator import answer, mark_non_atomic, refuse_async
from .options import Idempotency


class IdempotentView(View):
    """
    A base for class-based views: `class Pay(LoginRequiredMixin, IdempotentView): …`.

    To the right of what checks permissions, so that a replay passes those. `idempotency` holds the
    options.
    """

    idempotency: ClassVar[Idempotency] = Idempotency()

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        for method in cls.http_method_names:
            refuse_async(getattr(cls, method, None), f"{cls.__qualname__}.{method}")
        view = super().as_view(**initkwargs)
        options: Idempotency = initkwargs.get("idempotency", cls.idempotency)
        mark_non_atomic(view, options.alias())
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method is None or not hasattr(self, request.method.lower()):
            return super().dispatch(request, *args, **kwargs)  # 405 needs no key
        return answer(
            request,
            self.idempotency,
            self.idempotency.alias(),
            type(self).__qualname__,
            lambda: super(IdempotentView, self).dispatch(request, *args, **kwargs),
        )
