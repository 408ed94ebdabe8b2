"""What a person may do to deliveries, and what the page before each says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from .. import remedy
from ..models import Delivery
from ..remedy import HAPPENED, NOT_HAPPENED, START_ANEW
from ..search import as_id
from .confirming import ConfirmedActions, Group, Verb, WhyForm
from .pages import ReadOnlyAdmin


class WordForm(WhyForm):
    """Start anew: somebody's word for what no row can tell."""

    field_order = ("did_not_happen", "why")

    did_not_happen = forms.BooleanField(
        label="I have looked at the partner, and none of these happened",
        required=False,
        help_text="Without it, what may have happened is left alone.",
    )


_VERBS = {
    verb.name: verb
    for verb in (
        Verb(
            "redrive",
            "Redrive deliveries?",
            "Redrive",
            "be redriven",
            "redriven",
            "They run again soon, with all their attempts and the keys that partners know.",
        ),
        Verb(
            "cancel",
            "Cancel deliveries?",
            "Cancel the deliveries",
            "be cancelled",
            "cancelled",
            "They are given up: no worker will run them.",
            is_an_end=True,
        ),
        Verb(
            HAPPENED,
            "Did they happen?",
            "It happened",
            "be settled: it happened",
            "settled as happened",
            "They end as succeeded, and no worker runs them again. What the effect would have written"
            " into your own rows is for you to write.",
            is_an_end=True,
        ),
        Verb(
            NOT_HAPPENED,
            "Did they not happen?",
            "It did not happen",
            "be settled: it did not happen",
            "settled as not happened",
            "They run again soon, with all their attempts, under the keys that partners know. If a"
            " partner has forgotten its key, and it did happen, it will happen twice.",
        ),
        Verb(
            START_ANEW,
            "Start deliveries anew?",
            "Start anew",
            "be started anew",
            "started anew",
            "They run again soon under new keys: to partners they are something they never heard of."
            " Whatever happened under the old key will happen a second time.",
            WordForm,
        ),
    )
}


class RemedyAdmin(ConfirmedActions, ReadOnlyAdmin):
    """Deliveries, and what a person may do to them."""

    actions = tuple(_VERBS)
    verbs = _VERBS

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.redrive_delivery")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.cancel_delivery")

    def has_settle_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.settle_delivery")

    def has_start_anew_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.start_anew_delivery")

    @admin.action(description="Redrive selected deliveries", permissions=["redrive"])
    def redrive(self, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse | None:
        return self.confirm("redrive", request, rows)

    @admin.action(description="Cancel selected deliveries", permissions=["cancel"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse | None:
        return self.confirm("cancel", request, rows)

    @admin.action(description="Settle uncertain deliveries: it happened", permissions=["settle"])
    def settle_happened(
        self, request: HttpRequest, rows: QuerySet[Delivery]
    ) -> HttpResponse | None:
        return self.confirm(HAPPENED, request, rows)

    @admin.action(
        description="Settle uncertain deliveries: it did not happen", permissions=["settle"]
    )
    def settle_not_happened(
        self, request: HttpRequest, rows: QuerySet[Delivery]
    ) -> HttpResponse | None:
        return self.confirm(NOT_HAPPENED, request, rows)

    @admin.action(
        description="Start selected deliveries anew, under new keys", permissions=["start_anew"]
    )
    def start_anew(self, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse | None:
        return self.confirm(START_ANEW, request, rows)

    def remedies_for(self, request: HttpRequest, row: Delivery) -> list[Verb]:
        """What this user may do to *row* as it stands."""
        allowed = self.get_actions(request)
        return [
            self.verbs[name]
            for name, states in remedy.ALLOWED.items()
            if name in allowed and row.state in states
        ]

    # What the page says, and what is done

    def form_of(self, verb: Verb, request: HttpRequest, data: Any) -> WhyForm:
        # To give one's word is to settle, and needs that permission.
        has_a_word = verb.form is not WordForm or self.has_settle_permission(request)
        return verb.form(data) if has_a_word else WhyForm(data)

    def stamps(self, using: str, ids: Sequence[Any], *, lock: bool) -> dict[int, str]:
        """By all that a remedy changes, and a run."""
        # Not through get_queryset: what a project joins to it cannot always be locked.
        rows = Delivery.objects.using(using).filter(pk__in=ids)
        if lock:
            rows = rows.select_for_update(skip_locked=True)
        found = rows.values_list("pk", *remedy.STANDS_BY)
        return {pk: remedy.stamp_of(stood) for pk, *stood in found}

    def groups(self, verb: Verb, request: HttpRequest, rows: QuerySet[Any]) -> list[Group]:
        told = [
            Group(f.effect, f.state.label, f.reason_label, f.count, f.left_alone)
            for f in remedy.forecast(verb.name, remedy.as_deliveries(rows))
        ]
        if verb.name == START_ANEW and self.has_settle_permission(request):
            return [_with_a_word(group) for group in told]
        return told

    def change(self, verb: Verb, rows: QuerySet[Any], form: WhyForm, by: str) -> Sequence[Delivery]:
        said = {"by": by, "why": form.cleaned_data["why"]}
        deliveries = remedy.as_deliveries(rows)
        match verb.name:
            case "redrive":
                return remedy.redrive(deliveries, **said)
            case "cancel":
                return remedy.cancel(deliveries, **said)
            case remedy.HAPPENED | remedy.NOT_HAPPENED as name:
                return remedy.settle(deliveries, happened=name == HAPPENED, **said)
            case remedy.START_ANEW:
                word = form.cleaned_data.get("did_not_happen", False)
                return remedy.start_anew(deliveries, did_not_happen=word, **said)
            case _:
                raise KeyError(verb.name)

    def entry(self, verb: Verb, form: WhyForm) -> str:
        word = (
            " on my word that it did not happen" if form.cleaned_data.get("did_not_happen") else ""
        )
        return super().entry(verb, form) + word

    def read_id(self, text: str) -> int | None:
        return as_id(text)


def _with_a_word(group: Group) -> Group:
    if group.left_alone != remedy.NEEDS_A_WORD:
        return group
    reason = f"{group.reason}; " if group.reason else ""
    remark = f"{reason}it may have happened, so only with your word below"
    return Group(group.about, group.state, remark, group.count, "")
