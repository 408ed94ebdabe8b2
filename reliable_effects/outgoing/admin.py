"""What is known of each call: on the page of its delivery, and to be found by the key that was sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest

from ..outbox import search
from ..outbox.admin import looks
from ..outbox.admin.deliveries import also_show
from ..outbox.admin.filters import KnownChoices
from ..outbox.admin.pages import ReadOnlyAdmin
from ..outbox.models import Delivery
from .models import Known, OutgoingCall

_NEWEST = 10_000  # calls


class _Shown:
    """How a call looks, wherever it is shown."""

    @admin.display(description="known")
    def shown_known(self, row: OutgoingCall) -> str:
        return f"{row.known}: {row.get_known_display()}"

    @admin.display(description="first sent")
    def first_sent(self, row: OutgoingCall) -> str:
        return looks.instant(row.first_sent_at)

    @admin.display(description="last sent")
    def last_sent(self, row: OutgoingCall) -> str:
        return looks.instant(row.last_sent_at)

    @admin.display(description="the partner remembers it until")
    def shown_until(self, row: OutgoingCall) -> str:
        return looks.instant(row.safe_until) if row.safe_until else "nobody knows"


_FIELDS = (
    "target", "call", "key", "shown_known", "status", "request_id", "times_sent", "first_sent",
    "last_sent", "shown_until",
)  # fmt: skip


class CallInline(_Shown, admin.StackedInline):  # type: ignore[type-arg]  # not generic at run time
    """Whoever settles a delivery looks here first, and then at the partner's."""

    model = OutgoingCall
    verbose_name_plural = "calls to partners"
    ordering = ("id",)
    fields = readonly_fields = _FIELDS
    can_delete = False
    extra = max_num = 0

    def has_add_permission(self, *_: Any, **__: Any) -> bool:
        return False

    def has_change_permission(self, *_: Any, **__: Any) -> bool:
        return False


class KnownFilter(KnownChoices):
    title, parameter_name = f"known, of the newest {_NEWEST:,}", "known"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(known.value, known.value) for known in Known]

    def queryset(
        self, _request: HttpRequest, queryset: QuerySet[OutgoingCall]
    ) -> QuerySet[OutgoingCall]:
        if (chosen := self.value()) not in Known.values:
            return queryset
        # No index has it, so the newest are looked through and no more.
        newest = queryset.order_by("-pk").values_list("pk", flat=True).first() or 0
        return queryset.filter(known=chosen, pk__gt=newest - _NEWEST)


class OutgoingCallAdmin(_Shown, ReadOnlyAdmin):
    list_display = (
        "target", "call", "shown_effect", "shown_delivery", "shown_known", "status", "times_sent",
        "last_sent",
    )  # fmt: skip
    list_filter = (KnownFilter,)
    ordering = ("-id",)
    search_fields = ("key",)  # shows the box; `get_search_results` says what is looked for
    search_help_text = "The idempotency key that a partner names."
    fields = readonly_fields = (*_FIELDS, "shown_effect", "shown_delivery")

    def get_queryset(self, request: HttpRequest) -> QuerySet[OutgoingCall]:
        rows: QuerySet[OutgoingCall] = super().get_queryset(request)
        # No join: a call outlives its delivery until the sweep finds it, and is to be seen till then.
        effects = Delivery.objects.using(rows.db).filter(pk=OuterRef("delivery_id"))
        return rows.annotate(effect=Subquery(effects.values("effect")[:1]))

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[OutgoingCall], search_term: str
    ) -> tuple[QuerySet[OutgoingCall], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        key = search.as_uuid(term)
        return (queryset.none() if key is None else queryset.filter(key=key)), False

    @admin.display(description="effect")
    def shown_effect(self, row: OutgoingCall) -> str:
        return getattr(row, "effect", None) or looks.NOTHING

    @admin.display(description="delivery")
    def shown_delivery(self, row: OutgoingCall) -> str:
        return looks.page(Delivery, row.delivery_id, f"#{row.delivery_id}", self.admin_site.name)


def register(site: AdminSite) -> None:
    """Put our pages on *site*."""
    also_show(CallInline)
    site.register(OutgoingCall, OutgoingCallAdmin)
