"""The pages of groups of failures: which there are, what one is, and what people say of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import AdminSite
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html, format_html_join

from ...outbox.admin import looks
from ...outbox.admin.confirming import ConfirmedActions, Group, Verb, WhyForm
from ...outbox.admin.filters import EffectFilter, KnownChoices
from ...outbox.admin.pages import AtLeast, ReadOnlyAdmin
from ...outbox.admin.reader import ForReader
from ...outbox.models import Delivery
from ...outbox.remedy import stamp_of
from . import page, triage
from .forms import FixForm, NoteForm
from .models import MOST_PILLS, FailureGroup
from .states import GroupState, leading_to

_SHOWN = 90  # characters of a message in the list

_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "acknowledge",
            "Acknowledge groups of failures?",
            "Acknowledge",
            "be acknowledged",
            "acknowledged",
            "They are yours to look after, and your note says what is known. Their pills stay as they"
            " are, and alerts go on.",
            NoteForm,
        ),
        Verb(
            "mark_fixed",
            "Mark groups of failures as fixed?",
            "Mark as fixed",
            "be marked as fixed",
            "marked as fixed",
            "Their pills stay as they are, for you to redrive or cancel. What still fails in an older"
            " release changes nothing; a failure in the one that mends them brings them back.",
            FixForm,
        ),
        Verb(
            "reopen",
            "Reopen groups of failures?",
            "Reopen",
            "be reopened",
            "reopened",
            "They are new again: owner, note and release are taken off, and stay in the history.",
        ),
    )
}
_LEADS_TO = {
    "acknowledge": GroupState.ACKNOWLEDGED,
    "mark_fixed": GroupState.FIXED,
    "reopen": GroupState.NEW,
}
_STATES = {state.label: state for state in GroupState}
_OVER = {"no": Q(pills__gt=0), "yes": Q(pills=0)}


class GroupStateFilter(KnownChoices):
    title = parameter_name = "state"

    def known(self) -> list[tuple[str, str]]:
        return [(name, name) for name in _STATES]

    def meaning(self, chosen: str) -> Q | None:
        return Q(state=_STATES[chosen]) if chosen in _STATES else None


class OverFilter(KnownChoices):
    title = "pills"
    parameter_name = "over"

    def known(self) -> list[tuple[str, str]]:
        return [("no", "has pills"), ("yes", "over: its pills are gone")]

    def meaning(self, chosen: str) -> Q | None:
        return _OVER.get(chosen)


class FailureGroupAdmin(ConfirmedActions, ReadOnlyAdmin):
    """Groups, those with the most pills first, and what may be said of them."""

    actions = tuple(_VERBS)
    verbs = _VERBS
    counted = ("group", "groups")
    change_form_template = "reliable_effects/admin/group.html"

    list_display = (
        "shown_what", "shown_pills", "shown_state", "where_in_code", "last_seen", "owner",
    )  # fmt: skip
    list_filter = (OverFilter, GroupStateFilter, EffectFilter)
    ordering = ("-pills", "-id")

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        shown: list[Any] = list(self.list_display)
        if _may_read_errors(request):
            shown.append("message_begins")
        return shown

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:  # noqa: ARG002  # by its name alone
        # ?sample_message__gte=… would let whoever may look guess a message letter by letter.
        return lookup in {shown.parameter_name for shown in self.list_filter}

    def get_fieldsets(self, request: HttpRequest, _obj: FailureGroup | None = None) -> Any:
        newest = ["sample", *(("message", "traceback") if _may_read_errors(request) else ())]
        sets: list[Any] = [
            (None, {"fields": (
                "shown_state", "effect", "exception_type", "place", "shown_reason", "shown_pills",
                "total", "first_seen", "seen_last",
            )}),
            ("What people say", {"fields": (
                "owner", "note", "acknowledged", "fixed_in", "fixed", "came_back",
            )}),
            ("The newest pill", {"fields": newest}),
            ("Where its newest pills failed", {"fields": ("where",)}),
        ]  # fmt: skip
        if _may_see_deliveries(request):
            subjects = ForReader("subjects", "subjects", self.subjects, request)
            sets.append(("Whom they are about", {"fields": (subjects,)}))
        return sets

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if row is not None:
            context["links"] = self._links(request, row)
            allowed = self.get_actions(request)
            context["remedies"] = [
                verb
                for name, verb in self.verbs.items()
                if name in allowed and row.state in leading_to(_LEADS_TO[name])
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _links(self, request: HttpRequest, row: FailureGroup) -> list[tuple[str, str]]:
        pages = []
        if _may_see_deliveries(request):
            pages.append(("Deliveries of this group", "delivery_changelist"))
        if row.pills and request.user.has_perm("reliable_effects.redrive_delivery"):
            pages.append(("Redrive…", "redriveoperation_add"))
        found = []
        for text, name in pages:
            try:
                address = reverse(
                    f"admin:reliable_effects_{name}", current_app=self.admin_site.name
                )
            except NoReverseMatch:
                continue  # a site need not have all of our pages
            found.append((text, f"{address}?{urlencode({'group': row.fingerprint})}"))
        return found

    # Actions

    def has_triage_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.triage_failuregroup")

    @admin.action(description="Acknowledge selected groups", permissions=["triage"])
    def acknowledge(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("acknowledge", request, rows)

    @admin.action(description="Mark selected groups as fixed in a release", permissions=["triage"])
    def mark_fixed(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("mark_fixed", request, rows)

    @admin.action(description="Reopen selected groups", permissions=["triage"])
    def reopen(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        return self.confirm("reopen", request, rows)

    def stamps(self, using: str, ids: Sequence[Any], *, lock: bool) -> dict[int, str]:
        """By all that people say of it; that it has come back meanwhile is news to them."""
        rows = FailureGroup.objects.using(using).filter(pk__in=ids).order_by("pk")
        if lock:
            rows = rows.select_for_update()  # for milliseconds: the sweep holds one at a time
        columns = ("state", "owner", "note", "fixed_in", "fixed_at")
        return {pk: stamp_of(said) for pk, *said in rows.values_list("pk", *columns)}

    def groups(self, verb: Verb, request: HttpRequest, rows: QuerySet[Any]) -> list[Group]:  # noqa: ARG002  # ConfirmedActions'
        left_alone = triage.LEFT_ALONE[_LEADS_TO[verb.name]]
        alike = Counter(
            (row.effect, GroupState(row.state), row.what)
            for row in rows.order_by().only("effect", "state", "exception_type", "reason")
        )
        return [
            Group(effect, state.label, what, count, left_alone.get(state, ""))
            for (effect, state, what), count in alike.items()
        ]

    def change(
        self, verb: Verb, rows: QuerySet[Any], form: WhyForm, by: str
    ) -> Sequence[FailureGroup]:
        match _LEADS_TO[verb.name]:
            case GroupState.ACKNOWLEDGED:
                return triage.acknowledge(rows, by=by, note=form.cleaned_data["why"])
            case GroupState.FIXED:
                return triage.mark_fixed(rows, release=form.cleaned_data["release"], by=by)
            case _:
                return triage.reopen(rows, by=by)

    def entry(self, verb: Verb, form: WhyForm) -> str:
        release = form.cleaned_data.get("release")
        return super().entry(verb, form) + (f" in {release}" if release else "")

    # The list and the page

    @admin.display(description="failure")
    def shown_what(self, row: FailureGroup) -> str:
        return row.what

    @admin.display(description="message")
    def message_begins(self, row: FailureGroup) -> str:
        text = " ".join(row.sample_message.split())
        begins = f"{text[:_SHOWN]}…" if len(text) > _SHOWN else text
        return format_html('<span class="re-message">{}</span>', begins) if text else looks.NOTHING

    @admin.display(description="effect, and place")
    def where_in_code(self, row: FailureGroup) -> str:
        names = ((name,) for name in (row.effect, row.place) if name)
        return format_html_join("", '<span class="re-place">{}</span>', names)

    @admin.display(description="state")
    def shown_state(self, row: FailureGroup) -> str:
        return looks.badge(GroupState(row.state).label)

    @admin.display(description="pills now", ordering="pills")
    def shown_pills(self, row: FailureGroup) -> str:
        if not row.pills:
            return "0, it is over"
        return str(AtLeast(MOST_PILLS)) if row.pills >= MOST_PILLS else f"{row.pills:,}"

    @admin.display(description="reason")
    def shown_reason(self, row: FailureGroup) -> str:
        return row.get_reason_display() or looks.NOTHING

    @admin.display(description="first seen")
    def first_seen(self, row: FailureGroup) -> str:
        return looks.instant(row.first_seen_at)

    @admin.display(description="last seen")
    def seen_last(self, row: FailureGroup) -> str:
        return looks.instant(row.last_seen_at)

    @admin.display(description="last seen")
    def last_seen(self, row: FailureGroup) -> str:
        return looks.moment(row.last_seen_at)

    @admin.display(description="acknowledged")
    def acknowledged(self, row: FailureGroup) -> str:
        return looks.instant(row.acknowledged_at)

    @admin.display(description="marked as fixed")
    def fixed(self, row: FailureGroup) -> str:
        return looks.instant(row.fixed_at)

    @admin.display(description="came back")
    def came_back(self, row: FailureGroup) -> str:
        return looks.instant(row.came_back_at)

    @admin.display(description="delivery")
    def sample(self, row: FailureGroup) -> str:
        pk = row.sample_delivery_id
        return looks.page(Delivery, pk, f"#{pk}", self.admin_site.name) if pk else looks.NOTHING

    @admin.display(description="message")
    def message(self, row: FailureGroup) -> str:
        return looks.pre(row.sample_attempt.message if row.sample_attempt else row.sample_message)

    @admin.display(description="traceback")
    def traceback(self, row: FailureGroup) -> str:
        return looks.pre(row.sample_attempt.traceback if row.sample_attempt else "")

    @admin.display(description="releases and hosts")
    def where(self, row: FailureGroup) -> str:
        found = page.where(row)
        rows = [
            (what, name, count)
            for what, counts in (("release", found.releases), ("host", found.hosts))
            for name, count in counts.most_common()
        ]
        return looks.table(("what", "name", f"of the last {found.pills} pills"), rows)

    def subjects(self, row: FailureGroup, request: HttpRequest) -> str:
        site = self.admin_site.name
        return looks.table(
            ("subject", "delivery", "poisoned"),
            (
                (
                    looks.subject_link(pill.event, self.admin_site, request),
                    looks.page(Delivery, pill.pk, f"#{pill.pk}", site),
                    looks.moment(pill.finished_at),
                )
                for pill in page.about(row)
            ),
        )


def _may_read_errors(request: HttpRequest) -> bool:
    return request.user.has_perm("reliable_effects.view_attempt")


def _may_see_deliveries(request: HttpRequest) -> bool:
    return request.user.has_perm("reliable_effects.view_delivery")


def register(site: AdminSite) -> None:
    """Put our page on *site*: for projects with admin sites of their own."""
    site.register(FailureGroup, FailureGroupAdmin)
