"""
Redrive and cancel as admin actions: a page that says what will be done, a reason, an audit entry.

The page fixes the ids. What is confirmed is what was shown, however the filter's rows have changed;
each row's own state is asked again when it is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from django import forms
from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from .. import remedy
from ..models import Delivery, DeliveryQuerySet
from ..states import State
from .pages import ReadOnlyAdmin
from .search import as_id

AT_MOST = 10_000  # rows in one go: some seconds of a request
_CHUNK = 500  # rows in one transaction

_APPLY: dict[str, Callable[..., list[Delivery]]] = {
    "redrive": remedy.redrive,
    "cancel": remedy.cancel,
}
_DONE = {"redrive": "redriven", "cancel": "cancelled"}
_MEANS = {
    "redrive": "They run again soon, with all their attempts and the keys that partners know.",
    "cancel": "They are given up: no worker will run them.",
}


class WhyForm(forms.Form):
    """What the audit entry needs to know."""

    why = forms.CharField(
        label="Reason",
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 70}),
        help_text="Kept in the history of each delivery, with your name.",
    )


class RemedyAdmin(ReadOnlyAdmin):
    """Deliveries, and what a person may do to them."""

    actions = ("redrive", "cancel")

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.redrive_delivery")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("reliable_effects.cancel_delivery")

    @admin.action(description="Redrive selected deliveries", permissions=["redrive"])
    def redrive(self, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse | None:
        return self._remedy("redrive", request, rows)

    @admin.action(description="Cancel selected deliveries", permissions=["cancel"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse | None:
        return self._remedy("cancel", request, rows)

    def remedies_for(self, request: HttpRequest, row: Delivery) -> list[str]:
        """What this user may do to *row* as it stands."""
        allowed = self.get_actions(request)
        return [v for v, states in remedy.ALLOWED.items() if v in allowed and row.state in states]

    def _remedy(
        self, verb: str, request: HttpRequest, rows: QuerySet[Delivery]
    ) -> HttpResponse | None:
        confirmed = "ids" in request.POST
        if confirmed:
            ids, cut = _read_ids(request.POST["ids"]), False
        else:
            ids = list(rows.values_list("pk", flat=True)[: AT_MOST + 1])
            ids, cut = ids[:AT_MOST], len(ids) > AT_MOST
        told = self._forecast(verb, request, ids)
        form = WhyForm(request.POST if confirmed else None)
        if not (confirmed and form.is_valid()):
            return self._ask(verb, request, ids, told, cut=cut, form=form)
        expected = sum(group.count for group in told if not group.left_alone)
        self._apply(verb, request, ids, form.cleaned_data["why"], expected)
        return None

    def _ask(
        self,
        verb: str,
        request: HttpRequest,
        ids: Sequence[int],
        told: Sequence[remedy.Forecast],
        *,
        cut: bool,
        form: WhyForm,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": f"{verb.capitalize()} deliveries?",
            "opts": self.opts,
            "media": self.media,
            "verb": verb,
            "means": _MEANS[verb],
            "changed": [group for group in told if not group.left_alone],
            "left_alone": [group for group in told if group.left_alone],
            "count": sum(group.count for group in told if not group.left_alone),
            "cut_at": AT_MOST if cut else None,
            "ids": ",".join(map(str, ids)),
            "first_id": ids[0] if ids else "",
            "checkbox_name": helpers.ACTION_CHECKBOX_NAME,
            "form": form,
        }
        request.current_app = self.admin_site.name  # read by {% url %}
        return TemplateResponse(request, "reliable_effects/admin/confirm.html", context)

    def _forecast(
        self, verb: str, request: HttpRequest, ids: Sequence[int]
    ) -> list[remedy.Forecast]:
        alike: dict[tuple[str, State, str, str], int] = {}
        for rows in self._chunks(request, ids):
            for group in remedy.forecast(verb, rows):
                kind = (group.effect, group.state, group.reason, group.left_alone)
                alike[kind] = alike.get(kind, 0) + group.count
        return [
            remedy.Forecast(effect, state, reason, count, left_alone)
            for (effect, state, reason, left_alone), count in alike.items()
        ]

    def _apply(
        self, verb: str, request: HttpRequest, ids: Sequence[int], why: str, expected: int
    ) -> None:
        by = request.user.get_username()
        entry = f"{_DONE[verb].capitalize()} (one of {expected}): {why}"
        count = 0
        for rows in self._chunks(request, ids):
            # Change and audit entry share one fate.
            with transaction.atomic(using=rows.db):
                changed = _APPLY[verb](rows, by=by, why=why)
                self._log(request, changed, entry)
            count += len(changed)
        self.message_user(
            request,
            f"{count} {'delivery was' if count == 1 else 'deliveries were'} {_DONE[verb]}.",
            messages.SUCCESS if count else messages.WARNING,
        )
        if count < len(ids):
            self.message_user(
                request,
                f"{len(ids) - count} left alone, because of the state they are in.",
                messages.WARNING,
            )

    def _log(self, request: HttpRequest, changed: Sequence[Delivery], entry: str) -> None:
        # Not at the top: the models of other apps are not loaded when this module is.
        from django.contrib.admin.models import CHANGE, LogEntry  # noqa: PLC0415

        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=changed,
            action_flag=CHANGE,
            change_message=entry,
        )

    def _chunks(self, request: HttpRequest, ids: Sequence[int]) -> Iterator[DeliveryQuerySet]:
        # Through get_queryset, so that a project's own narrowing holds for what is posted, too.
        for start in range(0, len(ids), _CHUNK):
            rows: DeliveryQuerySet = self.get_queryset(request)  # type: ignore[assignment]  # our manager's
            yield remedy.on_writer(rows).filter(pk__in=ids[start : start + _CHUNK])


def _read_ids(text: str) -> list[int]:
    """The ids a form brings back; what is none is left out."""
    return [pk for part in text.split(",") if (pk := as_id(part)) is not None][:AT_MOST]
