"""
The pages of idempotency records: found by the key that a client sent, settled by a person.

A key is typed in clear and hashed before it is looked for; no page shows a key or an answer, which
is somebody else's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse

from ..clock import DbNow
from ..outbox.admin import looks
from ..outbox.admin.confirming import ConfirmedActions, Group, Verb, WhyForm
from ..outbox.admin.filters import KnownChoices
from ..outbox.admin.pages import ReadOnlyAdmin
from . import remedies
from .digests import of_key
from .models import IdempotencyRecord
from .remedies import Outcome
from .states import RecordState

_STATES: dict[str, RecordState] = {state.label: state for state in RecordState}

_AGES: dict[str, tuple[str, timedelta, bool]] = {
    "hour": ("within an hour", timedelta(hours=1), False),
    "day": ("within a day", timedelta(days=1), False),
    "older": ("more than a day ago", timedelta(days=1), True),
    "old": ("more than a week ago", timedelta(days=7), True),
}

_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "resolve_happened",
            "Resolve: it was carried out?",
            "It was carried out",
            "be resolved: it was carried out",
            "resolved as carried out",
            "Whoever repeats the request is told that it was carried out and that its answer is not"
            " known, and the view is not run again. What it would have written into your own rows is"
            " for you to write.",
            is_an_end=True,
        ),
        Verb(
            "resolve_did_not",
            "Resolve: it was not carried out?",
            "It was not carried out",
            "be resolved: it was not carried out",
            "resolved as not carried out",
            "The next request with the key runs the view. If it was carried out after all, that will"
            " happen twice.",
        ),
    )
}
_OUTCOMES = {"resolve_happened": Outcome.HAPPENED, "resolve_did_not": Outcome.DID_NOT}


class RecordStateFilter(KnownChoices):
    title = "outcome"
    parameter_name = "state"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(name, name) for name in _STATES]

    def meaning(self, chosen: str) -> Q | None:
        return Q(state=_STATES[chosen]) if chosen in _STATES else None


class RecordAgeFilter(KnownChoices):
    title = "begun"
    parameter_name = "begun"

    def known(self) -> Iterable[tuple[str, str]]:
        return [(name, label) for name, (label, _, _) in _AGES.items()]

    def meaning(self, chosen: str) -> Q | None:
        if chosen not in _AGES:
            return None
        _, span, before = _AGES[chosen]
        # Every state: says nothing, but which index to read.
        known = Q(state__in=RecordState.values)
        end = DbNow() - span
        return known & (Q(created_at__lte=end) if before else Q(created_at__gt=end))


class IdempotencyRecordAdmin(ConfirmedActions, ReadOnlyAdmin):
    """Records, and the two remedies for those that are uncertain."""

    actions = tuple(_VERBS)
    verbs = _VERBS
    counted = ("record", "records")
    about = "Operation"
    left_because = "because they are not uncertain any more"
    change_form_template = "reliable_effects/admin/with_remedies.html"

    list_display = ("operation", "shown_state", "status", "begun", "reason")
    list_filter = (RecordStateFilter, RecordAgeFilter)
    search_fields = ("key",)  # shows the box; `get_search_results` says what is looked for
    search_help_text = "The whole idempotency key, as the client sent it. It is hashed, not kept."
    fields = readonly_fields = (
        "operation", "shown_state", "next", "status", "reason", "calls_others",
        "begun_at", "lease", "finished", "known_until", "answer",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # An answer may be large, and nobody here is to see it.
        return super().get_queryset(request).defer("body", "headers")

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        # As an index has them: by age within one state, else by id.
        return ("-created_at",) if request.GET.get("state") in _STATES else ("-pk",)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        # In quotes, as the header has it, or without: either may have been copied.
        keys = {hashed for key in (term, term.strip('"')) for hashed in of_key(key)}
        return queryset.filter(key__in=keys), False

    def has_resolve_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.resolve_idempotencyrecord")

    @admin.action(description="Resolve: it was carried out", permissions=["resolve"])
    def resolve_happened(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("resolve_happened", request, rows)

    @admin.action(description="Resolve: it was not carried out", permissions=["resolve"])
    def resolve_did_not(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("resolve_did_not", request, rows)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None and row.state == RecordState.UNCERTAIN:
            allowed = self.get_actions(request)
            context["remedies"] = [verb for name, verb in self.verbs.items() if name in allowed]
        return super().render_change_form(request, context, *args, **kwargs)

    # What the page says, and what is done

    def groups(self, _verb: Verb, _request: HttpRequest, rows: QuerySet[Any]) -> list[Group]:
        alike = Counter(rows.order_by().values_list("operation", "state", "reason"))
        return [
            Group(operation, state.label, reason, count, _left_alone(state))
            for (operation, number, reason), count in alike.items()
            for state in [RecordState(number)]
        ]

    def change(
        self, verb: Verb, rows: QuerySet[Any], form: WhyForm, by: str
    ) -> Sequence[IdempotencyRecord]:
        # In the order of their ids: two people who confirm at once wait, and do not deadlock.
        uncertain = rows.filter(state=RecordState.UNCERTAIN).order_by("pk")
        why, outcome = form.cleaned_data["why"], _OUTCOMES[verb.name]
        return [row for row in uncertain if remedies.resolve(row, outcome, why, by)]

    # The list and the page

    @admin.display(description="outcome")
    def shown_state(self, row: IdempotencyRecord) -> str:
        return looks.badge(RecordState(row.state).label)

    @admin.display(description="begun")
    def begun(self, row: IdempotencyRecord) -> str:
        return looks.moment(row.created_at)

    @admin.display(description="begun")
    def begun_at(self, row: IdempotencyRecord) -> str:
        return looks.instant(row.created_at)

    @admin.display(description="its view calls other systems")
    def calls_others(self, row: IdempotencyRecord) -> str:
        return "yes" if row.foreign else "no"

    @admin.display(description="lease ends")
    def lease(self, row: IdempotencyRecord) -> str:
        return looks.instant(row.lease_expires_at)

    @admin.display(description="finished")
    def finished(self, row: IdempotencyRecord) -> str:
        return looks.instant(row.finished_at)

    @admin.display(description="the key is known until")
    def known_until(self, row: IdempotencyRecord) -> str:
        return looks.instant(row.expires_at)

    @admin.display(description="the answer is kept until")
    def answer(self, row: IdempotencyRecord) -> str:
        return "not kept" if row.body_expires_at is None else looks.instant(row.body_expires_at)

    @admin.display(description="what comes next")
    def next(self, row: IdempotencyRecord) -> str:
        match RecordState(row.state):
            case RecordState.IN_PROGRESS:
                return "A request is at it; repeated ones are told so until its lease ends."
            case RecordState.DONE:
                return "Repeated requests get the same answer, as long as that is kept."
            case RecordState.RELEASED:
                return "The next request with the key runs the view."
            case RecordState.UNCERTAIN:
                return "A person finds out whether it was carried out, and resolves it."


def _left_alone(state: RecordState) -> str:
    return "" if state is RecordState.UNCERTAIN else f"it is {state.label}, and not uncertain"


def register(site: AdminSite) -> None:
    """Put our page on *site*: for projects with admin sites of their own."""
    site.register(IdempotencyRecord, IdempotencyRecordAdmin)
